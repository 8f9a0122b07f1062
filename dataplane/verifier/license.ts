/** Licenses under which a program may call what is for the GPL only (Linux: license_is_gpl_compatible). */
const GPL_LICENSES: ReadonlySet<string> = new Set(['GPL', 'GPL v2', 'GPL and additional rights', 'Dual BSD/GPL', 'Dual MIT/GPL', 'Dual MPL/GPL']);

export const isGplCompatible = (license: string): boolean => GPL_LICENSES.has(license);
