/**
 * Where the compiled file of a worker thread is. Node 20 runs no TypeScript in threads, so that also what runs from the
 * sources (tests) takes the built one.
 */
export function workerFile(name: string): URL {
  const here = import.meta.url;
  return new URL(here.endsWith('.ts') ? `../../dist/dataplane/server/${name}.js` : `${name}.js`, here);
}
