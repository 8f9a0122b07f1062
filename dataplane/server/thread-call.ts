/** Calls of a service that lives in a worker thread: a message there, a message back, errors as errors. */
import type { MessagePort, Worker } from 'node:worker_threads';
import { XdplabError, type ErrorCode } from '../errors.ts';

interface CallMessage {
  readonly call: number;
  readonly method: string;
  readonly args: readonly unknown[];
}

interface AnswerMessage {
  readonly answer: number;
  readonly value?: unknown;
  readonly error?: { readonly code?: ErrorCode; readonly message: string; readonly stack?: string };
}

type MethodsOf<Service> = { [Name in keyof Service]: Service[Name] extends (...args: never[]) => unknown ? Name : never }[keyof Service];

/** Nobody is there any more who could answer. */
export class ThreadEnded extends Error {
  constructor() {
    super('the thread has ended');
  }
}

/** In the worker: begins calls in the order they come. `methods` are all that may be called. */
export function answerCalls<Service extends object>(port: MessagePort, service: Service, methods: readonly (MethodsOf<Service> & string)[]): void {
  port.on('message', (message: Partial<CallMessage>) => {
    const { call, method, args = [] } = message;
    if (call === undefined) return;
    void answer(call, async () => {
      const name = methods.find((one) => one === method);
      if (name === undefined) throw new TypeError(`there is no call '${method}'`);
      return (service[name] as (...values: readonly unknown[]) => unknown)(...args);
    });
  });

  async function answer(call: number, run: () => Promise<unknown>): Promise<void> {
    try {
      port.postMessage({ answer: call, value: await run() } satisfies AnswerMessage);
    } catch (error) {
      port.postMessage({ answer: call, error: plainError(error) } satisfies AnswerMessage);
    }
  }
}

/** In front of the worker. */
export class ThreadCaller<Service extends object> {
  readonly #worker: Worker;
  readonly #open = new Map<number, { readonly resolve: (value: never) => void; readonly reject: (error: Error) => void }>();
  #calls = 0;
  #ended: Error | undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', (message: Partial<AnswerMessage>) => {
      if (message.answer === undefined) return;
      const open = this.#open.get(message.answer);
      this.#open.delete(message.answer);
      if (message.error === undefined) open?.resolve(message.value as never);
      else open?.reject(errorOf(message.error));
    });
    worker.on('error', (error) => this.#end(error instanceof Error ? error : new Error(String(error))));
    worker.on('exit', () => this.#end(new ThreadEnded()));
  }

  call<Name extends MethodsOf<Service>>(method: Name, ...args: Service[Name] extends (...values: infer Args) => unknown ? Args : never): Promise<Service[Name] extends (...values: never[]) => infer Value ? Awaited<Value> : never> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) return reject(this.#ended);
      const call = this.#calls++;
      this.#open.set(call, { resolve, reject });
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
      this.#worker.postMessage({ call, method: method as string, args } satisfies CallMessage);
    });
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const { reject } of this.#open.values()) reject(this.#ended);
    this.#open.clear();
  }
}

function plainError(error: unknown): NonNullable<AnswerMessage['error']> {
  if (error instanceof XdplabError) return { code: error.code, message: error.message };
  if (error instanceof Error) return { message: error.message, ...(error.stack === undefined ? {} : { stack: error.stack }) };
  return { message: String(error) };
}

function errorOf({ code, message, stack }: NonNullable<AnswerMessage['error']>): Error {
  if (code !== undefined) return new XdplabError(code, message);
  const error = new Error(message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
