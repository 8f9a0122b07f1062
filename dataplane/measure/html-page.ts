/**
 * One HTML page that asks for nothing outside of itself. Everything that comes from files is to be escaped (`htmlText`);
 * there is no script, and where there were one the page would not run it.
 */

export function htmlPage(title: string, sections: readonly string[]): string {
  return `<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"><title>${htmlText(title)}</title><style>${STYLE}</style></head><body>\n${sections.join('\n')}\n</body></html>\n`;
}

const STYLE = `
:root { color-scheme: light dark; --ink: light-dark(#1d2733, #dce4ec); --faint: light-dark(#8a96a3, #7d8996); --rule: light-dark(#dde3e9, #333d48); --one: light-dark(#2f6fde, #6ea1ff); --two: light-dark(#c2571a, #f0935a); --three: light-dark(#3b8a5a, #6cc792); }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child, .facts td { text-align: left; }
th { font-weight: 600; color: var(--faint); }
.warning { border-left: 4px solid var(--two); padding-left: .8rem; }
summary { font-size: 1.2em; font-weight: 600; margin: .8rem 0; cursor: pointer; }
svg { width: 100%; height: auto; margin: .6rem 0; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg .axis { stroke: var(--rule); } svg .faint { fill: var(--faint); } svg .over { paint-order: stroke; stroke: Canvas; stroke-width: 4px; }
`;

export function htmlTable(head: readonly string[], body: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[], tag: string): string => `<tr>${cells.map((cell) => `<${tag}>${htmlText(cell)}</${tag}>`).join('')}</tr>`;
  return `<table>${head.some((cell) => cell !== '') ? line(head, 'th') : ''}${body.map((cells) => line(cells, 'td')).join('')}</table>`;
}

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

export function htmlText(value: string): string {
  return value.replace(/[&<>"]/g, (character) => ESCAPES[character]!);
}
