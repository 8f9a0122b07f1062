/**
 * Where the compiled file of a thread is, `server/lab-worker`. Node 20 runs no TypeScript in threads, so that also what
 * runs from the sources (tests) takes the built one.
 */
export function workerFile(path: string): URL {
  const here = import.meta.url;
  return new URL(here.endsWith('.ts') ? `../../dist/dataplane/${path}.js` : `../${path}.js`, here);
}
