/** Turns of every case, round by round, there and back again, so that a busy moment of the machine falls on all of them. */
export async function inTurns<C extends { readonly name: string }, T>(cases: readonly C[], rounds: number, run: (each: C) => Promise<T>): Promise<Map<string, T[]>> {
  const turns = new Map<string, T[]>(cases.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const each of round % 2 === 0 ? cases : cases.toReversed()) {
      process.stderr.write(`round ${round + 1} of ${rounds}: ${each.name}\n`);
      turns.get(each.name)!.push(await run(each));
    }
  }
  return turns;
}
