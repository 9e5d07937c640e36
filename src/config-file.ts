/**
 * The YAML configuration file: parsed, then held against a JSON schema made from the option table. Every complaint
 * names the file, the line and the key; unknown keys are refused, because a mistyped option must not be a silent default.
 */
import { readFile } from 'node:fs/promises';
import { Ajv, type ErrorObject } from 'ajv';
import { type Document, isNode, LineCounter, parseDocument } from 'yaml';
import { DELAY_PATTERN, LIMITS, type LimitName } from './core/index.ts';
import {
  type CommandLine,
  type Environment,
  flagOf,
  type Given,
  LOG_LEVELS,
  limitRange,
  mergeOptions,
  OPTIONS,
  OptionError,
  type OptionName,
  type Options,
  parseEnvironment,
} from './options.ts';

const TEXT = { type: 'string', minLength: 1 };

function limitSchema(name: LimitName): object {
  const [minimum, maximum] = limitRange(name);
  return { type: 'integer', minimum, maximum };
}

const SCHEMA_OF_KIND = {
  text: TEXT,
  port: { type: 'integer', minimum: 0, maximum: 65_535 },
  boolean: { type: 'boolean' },
  level: { enum: LOG_LEVELS },
  texts: { type: 'array', items: TEXT },
  delays: { type: 'array', minItems: 1, items: { type: 'string', pattern: DELAY_PATTERN } },
  users: {
    type: 'array',
    items: {
      type: 'object',
      additionalProperties: false,
      required: ['name', 'password'],
      properties: {
        name: { type: 'string', minLength: 1, maxLength: LIMITS.nameBytesMax[0] },
        password: { type: 'string', pattern: '^\\$scrypt\\$' },
        administrator: { type: 'boolean' },
        vhosts: { type: 'array', items: TEXT, minItems: 1 },
      },
    },
  },
  limits: {
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries((Object.keys(LIMITS) as LimitName[]).map((name) => [name, limitSchema(name)])),
  },
} as const;

function schema(): object {
  const names = Object.keys(OPTIONS) as OptionName[];
  return {
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(names.map((name) => [name, SCHEMA_OF_KIND[OPTIONS[name].kind]])),
  };
}

/** A key may also be spelled as its flag is: `mqtt-port` is `mqttPort`. */
const OPTION_OF_FLAG = new Map((Object.keys(OPTIONS) as OptionName[]).map((name) => [flagOf(name), name]));

function describe(error: ErrorObject): string {
  const path = error.instancePath.slice(1).replaceAll('/', '.');
  if (error.keyword === 'additionalProperties') {
    const key = String(error.params['additionalProperty']);
    return `${path === '' ? '' : `${path}: `}there is no option ${JSON.stringify(key)}`;
  }
  if (error.keyword === 'pattern' && path.endsWith('password')) {
    return `${path} must be a hash made by \`junctionmq hash-password\`, never the password itself`;
  }
  if (error.keyword === 'enum') return `${path} must be one of ${LOG_LEVELS.join(', ')}`;
  if (path === '') return 'a configuration file is a map of option names to values';
  return `${path} ${error.message ?? 'is wrong'}`;
}

/** Line (from 1) of the thing an error is about: the unknown key itself, else the value. */
function lineOf(document: Document, error: ErrorObject, lines: LineCounter): number {
  const path: (string | number)[] = error.instancePath
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((part) => (/^[0-9]+$/.test(part) ? Number(part) : part));
  if (error.keyword === 'additionalProperties') path.push(String(error.params['additionalProperty']));
  // The key may have been spelled as its flag.
  if (path[0] !== undefined && !document.hasIn([path[0]])) path[0] = flagOf(path[0] as OptionName);
  const node = path.length === 0 ? document.contents : document.getIn(path, true);
  const start = isNode(node) ? node.range?.[0] : undefined;
  return start === undefined ? 1 : lines.linePos(start).line;
}

/** Parse the text of a configuration file. Throws OptionError. @param path for messages */
export function parseConfig(text: string, path: string): Given {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const fault = document.errors[0];
  if (fault !== undefined) {
    throw new OptionError(`${path}:${lines.linePos(fault.pos[0]).line}: ${fault.message}`, true);
  }
  const content: unknown = document.toJS();
  if (content === null || content === undefined) return {};
  const validate = new Ajv({ allErrors: false, strict: false }).compile(schema());
  const given = renamed(content, path);
  if (!validate(given)) {
    const error = validate.errors?.[0];
    if (error === undefined) throw new OptionError(`${path}: not a configuration file`, true);
    throw new OptionError(`${path}:${lineOf(document, error, lines)}: ${describe(error)}`, true);
  }
  return given as Given;
}

/** Keys spelled as flags get their option's name. */
function renamed(content: unknown, path: string): unknown {
  if (typeof content !== 'object' || content === null || Array.isArray(content)) return content;
  const result = new Map<string, unknown>();
  for (const [key, value] of Object.entries(content)) {
    const name = OPTION_OF_FLAG.get(key) ?? key;
    if (result.has(name)) throw new OptionError(`${path}: ${name} is given twice`, true);
    result.set(name, value);
  }
  return Object.fromEntries(result);
}

/** Read and check a configuration file. Throws OptionError. */
async function readConfigFile(path: string): Promise<Given> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new OptionError(`cannot read the configuration file: ${(error as Error).message}`, true);
  }
  return parseConfig(text, path);
}

/**
 * All options of a start. Reads the file that `--config` or `JUNCTION_CONFIG` names.
 * @throws OptionError with one line that says what is wrong and where.
 */
export async function resolveOptions(
  line: Pick<CommandLine, 'given' | 'config'>,
  environment: Environment,
): Promise<Options> {
  const fromEnvironment = parseEnvironment(environment);
  const path = line.config ?? environment['JUNCTION_CONFIG'];
  const fromFile = path === undefined ? {} : await readConfigFile(path);
  return mergeOptions([fromFile, fromEnvironment, line.given]);
}
