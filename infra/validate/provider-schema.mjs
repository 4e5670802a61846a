/**
 * The schema of a Terraform provider, as far as our modules use it, out of the npm package that HashiCorp generated from the provider's own
 * schema (`@cdktf/provider-*`): names, types, blocks, what is required and what is computed. Written for schema-provider/, which serves it.
 */
import { spawnSync } from 'node:child_process';

/** @typedef {{type: unknown, required?: boolean, optional?: boolean, computed?: boolean}} Attribute */
/** @typedef {{attributes: Record<string, Attribute>, blocks: Record<string, {nesting: string, min: number, max: number, block: Block}>}} Block */

const SIMPLE = { string: 'string', number: 'number', boolean: 'bool', any: 'dynamic' };

/**
 * @param {string} tgz the npm package
 * @param {string} provider for example "aws"
 * @param {{resources: string[], data: string[]}} used type names as in "aws_s3_bucket"
 */
export function providerSchema(tgz, provider, used) {
  const folders = new Map(
    [
      ['provider', 'provider'],
      ...used.resources.map((type) => [`resource ${type}`, folderOf(type, provider)]),
      ...used.data.map((type) => [`data ${type}`, `data-${provider}-${folderOf(type, provider)}`]),
    ].map(([key, folder]) => [key, `package/lib/${folder}`]),
  );
  const files = unpack(tgz, [...folders.values()]);
  /** @param {string} key @param {string} what */
  const read = (key, what) => {
    const folder = folders.get(key) ?? '';
    const [code, types] = [files(`${folder}/index.js`), files(`${folder}/index.d.ts`)];
    if (!code || !types) throw new Error(`the ${provider} provider has no ${what}`);
    return new Parser(code, types).root();
  };
  return {
    address: `registry.terraform.io/hashicorp/${provider}`,
    provider: read('provider', 'configuration'),
    resources: Object.fromEntries(used.resources.map((type) => [type, read(`resource ${type}`, `resource ${type}`)])),
    data: Object.fromEntries(used.data.map((type) => [type, read(`data ${type}`, `data source ${type}`)])),
  };
}

/** @param {string} type @param {string} provider */
const folderOf = (type, provider) => type.slice(provider.length + 1).replaceAll('_', '-');

/** @param {string} tgz @param {string[]} folders @returns {(path: string) => string | undefined} */
function unpack(tgz, folders) {
  const wanted = folders.flatMap((folder) => [`${folder}/index.js`, `${folder}/index.d.ts`]);
  const marker = '\u0000file ';
  // One pass over the archive: each file after a line of its own that names it.
  const { stdout, status, error } = spawnSync(
    'tar',
    ['xzf', tgz, '--to-command', `printf '\\000file %s\\n' "$TAR_FILENAME"; cat`, '--wildcards', ...wanted],
    { encoding: 'utf8', maxBuffer: 1 << 30 },
  );
  if (error) throw error;
  const found = new Map(
    stdout
      .split(marker)
      .slice(1)
      .map((part) => [part.slice(0, part.indexOf('\n')), part.slice(part.indexOf('\n') + 1)]),
  );
  if (found.size === 0) throw new Error(`${tgz}: tar ended with ${status} and no file`);
  return (path) => found.get(path);
}

/** Reads one generated module. The generator writes them all alike, so a few patterns hold. */
class Parser {
  /** @param {string} code @param {string} types */
  constructor(code, types) {
    this.code = code;
    this.types = types;
    this.main =
      /export declare class (\w+) extends cdktf\.Terraform(?:Resource|DataSource|Provider)/.exec(types)?.[1] ?? '';
  }

  /** @returns {Block} */
  root() {
    const body = between(this.code, 'synthesizeHclAttributes() {', '\n    }');
    return this.block(body, `${this.main}Config`, this.main);
  }

  /** @param {string} body of a function that lists attributes @param {string} config its interface @param {string} output its class @returns {Block} */
  block(body, config, output) {
    const members = this.interface(config);
    /** @type {Block} */
    const block = { attributes: {}, blocks: {} };
    const entry =
      /(\w+): \{\s+value: [^\n]*,\s+isBlock: (true|false),\s+type: "(\w+)",\s+storageClassType: "(\w+)",\s+\}/g;
    for (const [, name, isBlock, kind, storage] of body.matchAll(entry)) {
      const member = members.get(name) ?? { required: false, many: true };
      if (isBlock === 'true') {
        const inner = storage.replace(/List$/, '');
        block.blocks[name] = {
          nesting: kind === 'struct' ? 'single' : kind,
          min: kind !== 'struct' && member.required ? 1 : 0,
          max: kind === 'struct' || member.many ? 0 : 1,
          block: this.named(inner),
        };
      } else {
        const flags = member.required ? { required: true } : { optional: true, computed: name === 'id' };
        block.attributes[name] = { type: this.type(kind, storage), ...flags };
      }
    }
    for (const [name, type] of this.outputs(output, members))
      if (!block.attributes[name] && !block.blocks[name]) block.attributes[name] = { type, computed: true };
    return block;
  }

  /** @param {string} struct @returns {Block} */
  named(struct) {
    const name = struct[0].toLowerCase() + struct.slice(1);
    const body = between(this.code, `function ${name}ToHclTerraform(struct) {`, '\n}');
    return this.block(body, struct, `${struct}OutputReference`);
  }

  /** @param {string} kind @param {string} storage */
  type(kind, storage) {
    if (kind === 'simple') return SIMPLE[storage] ?? 'dynamic';
    const element = /^(string|number|boolean|any)(List|Map)/.exec(storage)?.[1];
    if (element) return [kind, SIMPLE[element]];
    const { attributes } = this.named(storage.replace(/List$/, ''));
    const object = ['object', Object.fromEntries(Object.entries(attributes).map(([name, { type }]) => [name, type]))];
    return kind === 'struct' ? object : [kind, object];
  }

  /** The properties of an interface by Terraform's names. @param {string} name */
  interface(name) {
    const body = between(this.types, `export interface ${name} `, '\n}');
    /** @type {Map<string, {required: boolean, many: boolean, property: string}>} */
    const members = new Map();
    const property = /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*readonly (\w+)(\??): ([^;]*);/g;
    for (const [, docs, camel, optional, type] of body.matchAll(property)) {
      const snake = /#(\w+) \w+#/.exec(docs)?.[1] ?? toSnake(camel);
      members.set(snake, { required: optional === '', many: type.includes('[]'), property: camel });
    }
    return members;
  }

  /** What only the provider sets. @param {string} output a class @param {Map<string, {property: string}>} members @returns {[string, unknown][]} */
  outputs(output, members) {
    const body = between(this.types, `export declare class ${output} `, '\n}');
    const known = new Set([...members.values()].map(({ property }) => property));
    return [...body.matchAll(/\n {4}get (\w+)\(\): ([^;]*);/g)]
      .filter(([, name]) => !known.has(name) && !/Input$|^internalValue$|^fqn$/.test(name))
      .map(([, name, type]) => [toSnake(name), this.outputType(type)]);
  }

  /** @param {string} type @returns {unknown} */
  outputType(type) {
    const simple = { string: 'string', number: 'number', 'cdktf.IResolvable': 'bool', boolean: 'bool' };
    if (simple[type]) return simple[type];
    if (type === 'string[]') return ['list', 'string'];
    if (type === 'number[]') return ['list', 'number'];
    if (type === 'cdktf.StringMap') return ['map', 'string'];
    const struct = /^(\w+)List$/.exec(type)?.[1];
    if (!struct) return 'dynamic';
    return ['list', ['object', Object.fromEntries(this.outputs(`${struct}OutputReference`, new Map()))]];
  }
}

/** @param {string} text @param {string} start @param {string} end */
function between(text, start, end) {
  const from = text.indexOf(start);
  return from < 0 ? '' : text.slice(from, text.indexOf(end, from));
}

/** @param {string} camel */
const toSnake = (camel) => camel.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
