/** An OpenAPI document as a page to read: routes by tag, each with what it takes and answers, shapes written as TypeScript would. */

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly patternProperties?: Readonly<Record<string, Schema>>;
}

type Content = Readonly<Record<string, { readonly schema?: Schema }>>;

interface Operation {
  readonly summary?: string;
  readonly description?: string;
  readonly tags?: readonly string[];
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly required?: boolean; readonly schema?: Schema }[];
  readonly requestBody?: { readonly content?: Content };
  readonly responses?: Readonly<Record<string, { readonly description?: string; readonly content?: Content }>>;
}

export interface OpenApi {
  readonly info: { readonly title: string; readonly version: string; readonly description?: string };
  readonly paths?: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

export function openApiPage({ info, paths = {} }: OpenApi): string {
  const operations = Object.entries(paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ path, method, operation })));
  const tags = [...new Set(operations.flatMap(({ operation }) => operation.tags ?? ['other']))];
  const sections = tags.map((tag) => `<h2>${escape(tag)}</h2>\n${operations.filter(({ operation }) => (operation.tags ?? ['other']).includes(tag)).map(section).join('\n')}`);
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${escape(info.title)}</title><link rel="icon" href="/icon.svg"><link rel="stylesheet" href="/api/docs.css"></head>
<body>
<h1>${escape(info.title)} ${escape(info.version)}</h1>
<p>${escape(info.description ?? '')} The same for programs: <a href="/api/openapi.json">openapi.json</a>.</p>
${sections.join('\n')}
</body>
</html>
`;
}

function section({ path, method, operation }: { readonly path: string; readonly method: string; readonly operation: Operation }): string {
  const { summary = '', description, parameters = [], requestBody, responses = {} } = operation;
  const parts = [
    ...(description === undefined ? [] : [`<p>${escape(description)}</p>`]),
    ...(parameters.length === 0 ? [] : [block('parameters', parameters.map((one) => `${one.name}${one.required ? '' : '?'}: ${typeText(one.schema, '')}  // in the ${one.in}`).join('\n'))]),
    ...contents('body', requestBody?.content),
    ...Object.entries(responses).flatMap(([status, { content }]) => (/xx/i.test(status) ? [] : content === undefined ? [block(`answer ${status}`, 'nothing')] : contents(`answer ${status}`, content))),
  ];
  return `<details><summary><code><span class="method">${escape(method.toUpperCase())}</span>${escape(path)}</code>${escape(summary)}</summary>${parts.join('')}</details>`;
}

function contents(title: string, content: Content = {}): string[] {
  return Object.entries(content).map(([type, { schema }]) => block(`${title}, ${type}`, typeText(schema, '')));
}

function block(title: string, text: string): string {
  return `<h4>${escape(title)}</h4><pre>${escape(text)}</pre>`;
}

function typeText(schema: Schema | undefined, indent: string): string {
  if (schema === undefined) return 'unknown';
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(' | ');
  if (schema.anyOf) return schema.anyOf.map((one) => typeText(one, indent)).join(' | ');
  if (schema.items) return `${schema.items.properties ? typeText(schema.items, indent) : `(${typeText(schema.items, indent)})`}[]`.replace(/^\((\w+)\)\[\]$/, '$1[]');
  if (schema.properties) {
    const inner = `${indent}  `;
    const lines = Object.entries(schema.properties).map(([name, property]) => `${inner}${name}${schema.required?.includes(name) ? '' : '?'}: ${typeText(property, inner)}${property.description === undefined ? '' : `  // ${property.description}`}`);
    return `{\n${lines.join('\n')}\n${indent}}`;
  }
  if (schema.patternProperties) return `{ [name: string]: ${Object.values(schema.patternProperties).map((one) => typeText(one, indent)).join(' | ')} }`;
  return schema.type ?? 'unknown';
}

function escape(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
