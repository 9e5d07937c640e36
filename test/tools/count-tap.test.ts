import t from 'tap';
import { countPoints } from '../../tools/count-tap.mjs';

t.test('points are counted once, at the bottom', async (t) => {
  const text = `TAP version 14
# Subtest: a
    # Subtest: b
        ok 1 - one
        not ok 2 - two
        1..2
    not ok 1 - b
    ok 2 - three
    1..2
not ok 1 - a
ok 2 - four
ok 3 - five # SKIP no disk
not ok 4 - six # todo later
ok 5 - a \\# todo in the name
1..5
`;
  t.same(countPoints(text), { ok: 4, notOk: 1 });
});

t.test('a subtest that failed as a whole counts, also after another that failed', async (t) => {
  const text = `    ok 1 - x
not ok 1 - timed out
    not ok 1 - y
    ok 2 - z
not ok 2 - b
    ok 1 - x
not ok 3 - crashed
`;
  t.same(countPoints(text), { ok: 2 + 1, notOk: 3 });
});

t.test('a failed subtest inside a failed file is one failure', async (t) => {
  const text = `    # Subtest: a
        not ok 1 - x
    not ok 1 - a
    # Subtest: b
        ok 1 - x
    ok 2 - b
not ok 1 - file
`;
  t.same(countPoints(text), { ok: 1, notOk: 1 });
});
