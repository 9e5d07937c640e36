import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { isBuilt, missingPackages, sourceDigest } from '../../tools/ensure-built.mjs';

const entry = (version: string, more: object = {}): object => ({ version, ...more });

t.test('what is missing or of another version is found; platform binaries do not count', async (t) => {
  const root = t.testdir({
    'package-lock.json': JSON.stringify({
      packages: {
        '': {},
        'node_modules/a': entry('1.0.0'),
        'node_modules/b': entry('2.0.0'),
        'node_modules/c': entry('1.0.0', { dev: true }),
        'node_modules/d': entry('1.0.0', { optional: true }),
      },
    }),
  });
  t.same(missingPackages(root, false), ['node_modules/a', 'node_modules/b']);
  mkdirSync(join(root, 'node_modules'));
  const installed = { packages: { 'node_modules/a': entry('1.0.0'), 'node_modules/b': entry('1.9.0') } };
  writeFileSync(join(root, 'node_modules/.package-lock.json'), JSON.stringify(installed));
  t.same(missingPackages(root, false), ['node_modules/b'], 'another version is missing too');
  t.same(missingPackages(root, true), ['node_modules/b', 'node_modules/c']);
});

t.test('dist is stale when a source or the settings changed, came or went', async (t) => {
  const root = t.testdir({ src: { 'a.ts': 'a', sub: { 'b.ts': 'b' } }, 'tsconfig.json': '{}', dist: {} });
  t.notOk(isBuilt(root), 'never built');
  const build = (): void => writeFileSync(join(root, 'dist/.sources'), sourceDigest(root));
  build();
  t.ok(isBuilt(root));
  writeFileSync(join(root, 'src/sub/b.ts'), 'c');
  t.notOk(isBuilt(root), 'a source changed');
  build();
  writeFileSync(join(root, 'src/c.ts'), '');
  t.notOk(isBuilt(root), 'a source came');
  build();
  writeFileSync(join(root, 'tsconfig.json'), '{ }');
  t.notOk(isBuilt(root), 'the settings changed');
});
