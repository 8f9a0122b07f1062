/** What of autocannon 9 is used here; it brings no types. */
declare module 'autocannon' {
  interface Histogram {
    readonly p50: number;
    readonly p99: number;
  }

  interface Result {
    readonly requests: { readonly total: number; readonly average: number };
    readonly latency: Histogram;
    readonly duration: number;
    readonly non2xx: number;
    readonly errors: number;
  }

  export default function autocannon(options: {
    readonly url: string;
    readonly method?: 'GET' | 'POST' | 'PUT';
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: string;
    readonly connections: number;
    readonly pipelining: number;
    readonly duration: number;
  }): Promise<Result>;
}
