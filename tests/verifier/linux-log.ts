/** Two logs of one verification, Linux's and ours, made comparable: what differs by design is taken out of both. */

/** What only one of the two has, and why. */
const LEFT_OUT: readonly { readonly pattern: RegExp; readonly why: string }[] = [
  { pattern: /^(mark_precise|force_precise|frame \d+: propagating)/, why: 'how Linux goes back for precise numbers' },
  { pattern: /^\([\d,]+\) (frame|live)/, why: 'which stack slots Linux finds alive' },
  { pattern: /^(Live regs before insn|[ \d]{3} +\d+: [0-9.]{10} )/, why: 'which registers are read again, before each instruction' },
  { pattern: /^SCC (enter|exit|backedge)/, why: 'where loops begin and end' },
  { pattern: /^(Func#\d+ |Validating |Global function )/, why: 'which global functions are taken for valid, and verified when' },
  { pattern: /^func#\d+ @/, why: 'where functions begin' },
  { pattern: /^R\d is not a scalar$/, why: 'what Linux asks where the answer decides nothing' },
  { pattern: /^(verification time|stack depth|processed) /, why: 'statistics: time, and figures that are not counted here' },
];

/** A state of which nothing is left to show. */
const NOTHING = /^\d+:( frame\d+:)?$/;
const INSTRUCTION = /^\d+: \([0-9a-f]{2}\) /;
const STATE = /^\d+:( frame\d+:)? (R\d|fp-)/;
/** Kernel functions by their BTF id, which we do not know. */
const KFUNC = /(call bpf_\w+)#(0|\d{4,})/;
const DYNPTR_ID = /,dynptr_id=\d+/g;
/** Inner maps have no name in Linux. */
const INNER_MAP = /map=inner_\w+,/g;
/** Of a call, which arguments and slots are shown again: Linux shows some that helpers and callbacks touch. */
const CALL_TOUCHES = /( R(?:[1-9]|10)=| fp-\d+=)\S+/g;
const CALL = /^\d+: \(85\)/;
/** Functions by their distance in either spelling. */
const FUNCTION = / = (subprog\[[^\]]+\]|0x[0-9a-f]+) *( ;(?: frame\d+:)? R\d=func)/;
/** A map by its address, which is not shown to whoever may not see it, and by its name. */
const MAP = / = (0xffff[0-9a-f]{12}|0x0(?= *; R\d=map_)|map\[[^\]]+\](\[0\](\+-?\d+)?)?) */;

export function comparable(log: readonly string[]): string[] {
  const lines: string[] = [];
  for (const line of log) {
    if (NOTHING.test(line.trimEnd()) || LEFT_OUT.some(({ pattern }) => pattern.test(line))) continue;
    const last = lines.at(-1);
    // Where something was written in between, Linux writes a state in a line of its own.
    if (STATE.test(line) && last !== undefined && INSTRUCTION.test(last) && !last.includes(' ; ') && !last.endsWith(';')) lines[lines.length - 1] = `${last} ;${line.slice(line.indexOf(':') + 1)}`;
    else lines.push(line.trimEnd());
  }
  return lines.map((shown) => {
    const each = shown.replace(INNER_MAP, '');
    const line = CALL.test(each) ? each.replace(CALL_TOUCHES, '').replace(/ +;$/, '') : each.replace(DYNPTR_ID, '');
    return INSTRUCTION.test(line) ? line.replace(MAP, ' = map ').replace(KFUNC, '$1').replace(/ +;/, ' ;').replace(FUNCTION, ' = function$2').trimEnd() : line;
  });
}

/** Cases whose logs differ otherwise, by their sentences. What is decided is the same. */
export const DIFFERS: Readonly<Record<string, string>> = {
  'a dynptr written over where it lies at a variable place is accepted when it is not used any more': 'Linux shows every slot that a variable place may be',
  'a read of written stack at an unknown offset is a number': 'Linux shows every slot that a variable place may be',
  'zero bytes that were stored one by one are zero to a read at an unknown offset': 'Linux shows every slot that a variable place may be',
  'a map value that may be NULL is memory where NULL is allowed, even if some of it is read': 'Linux writes why the argument is not memory before it sees that it may be NULL',
  'a value equal to a checked value is checked too': 'Linux keeps the id of a pointer that it knows not to be NULL by another one',
  'a lookup in an xskmap gives a socket whose queue_id is readable': 'values of an xskmap are sockets to Linux, and stay map values here',
  'what an atomic operation fetched from the stack matters, which Linux overlooks before 6.18.50: a second path is accepted': 'the deliberate difference that the sentence names',
  'a store that overwrites another slot when it runs again is not the end of the first, which Linux overlooks below 256 bytes of stack: a second path with another number there is accepted': 'the deliberate difference that the sentence names',
  'an XDP lookup in a tc program with its stack for the context is accepted': 'a deliberate difference: it is refused here (our-answers.test.ts)',
  'an object that is allocated and dropped is accepted': 'a deliberate difference: it is refused here (our-answers.test.ts)',
  'NULL for memory that a tag says is there is accepted, though it is read': 'a deliberate difference: it is refused here (our-answers.test.ts)',
  'a dynptr that is passed to a global function is accepted': 'a deliberate difference: it is refused here (our-answers.test.ts)',
  'tags of parameters say nothing of a static function, which is accepted': 'Linux says that it heeds no tags there',
  'a packet load in a function is accepted while its caller holds a record': 'Linux shows r0 where a function was left without an exit',
  'what a function that ends by a packet load answers is 0 there': 'Linux shows r0 where a function was left without an exit',
  'a tail call in a subprogram is accepted where functions have types': 'Linux shows r0 where a function was left without an exit',
  'a tail call in a function that returns a number is accepted': 'Linux shows r0 where a function was left without an exit',
  'a tail call in a subprogram below 256 bytes of stack is accepted': 'Linux shows r0 where a function was left without an exit',
  'a number that matters across a function which tail-calls is known before it': 'Linux shows r0 where a function was left without an exit',
  'a callback of bpf_loop that leaves its record to whoever called bpf_loop is accepted': 'Linux shows nothing of a call whose callback comes first',
  "the callback's context is what the caller passed: a pointer to its stack is writable": 'Linux shows the frame of the caller before the callback writes into it',
};
