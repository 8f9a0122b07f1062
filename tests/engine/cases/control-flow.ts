/** Jumps, loops, calls of subprograms, and packet loads. */
import { single, type Case } from './case.ts';

const JUMPS: readonly Case[] = [
  single('goto skips', 'r2 = *(u32 *)(r1 +12)\nif r2 == 99 goto other\nr0 = 1\ngoto end\nother:\nr0 = 2\nend:\nexit', 1n),
  single('gotol skips', 'r2 = *(u32 *)(r1 +12)\nif r2 == 99 goto other\nr0 = 1\ngotol end\nother:\nr0 = 2\nend:\nexit', 1n),
  single('goto of nothing', 'r0 = 3\ngoto pc+0\nexit', 3n),
  single('a branch to the next instruction', 'r0 = 3\nif r0 == 3 goto pc+0\nexit', 3n),
  single('backward goto', 'r0 = 1\ngoto first\nsecond:\nr0 += 2\nexit\nfirst:\nr0 += 3\ngoto second', 6n),
  single('backward gotol', 'r0 = 1\ngotol first\nsecond:\nr0 += 2\nexit\nfirst:\nr0 += 3\ngotol second', 6n),
  single('several exits', 'r2 = *(u32 *)(r1 +12)\nr0 = 1\nif r2 != 99 goto out\nexit\nout:\nr0 = 2\nexit', 2n),
  single('a jump over a 64-bit immediate load counts two slots', 'r0 = 1\nif r0 == 1 goto end\nr0 = 0x2\nend:\nr0 += 4\nexit', 5n),
  single('exit with the context still in r1', 'r0 = 0\nexit', 0n),
  single('a diamond joins', 'r2 = *(u32 *)(r1 +12)\nif r2 > 50 goto b\nr0 = 10\ngoto join\nb:\nr0 = 20\njoin:\nr0 += 1\nexit', 11n),
  single(
    'branches that depend on branches',
    `
      r6 = *(u32 *)(r1 +12)
      r0 = 0
      if r6 == 77 goto one
      r0 += 1
      if r6 > 1000 goto one
      r0 += 2
      goto two
      one:
      r0 += 4
      two:
      if r0 == 3 goto three
      r0 += 8
      three:
      r0 += 16
      exit`,
    19n,
  ),
];

const LOOPS: readonly Case[] = [
  single('a loop adds up', 'r0 = 0\nr1 = 10\nagain:\nr0 += r1\nr1 -= 1\nif r1 != 0 goto again\nexit', 55n),
  single('a loop whose test is first', 'r0 = 0\nr1 = 0\nagain:\nif r1 >= 10 goto end\nr0 += r1\nr1 += 1\ngoto again\nend:\nexit', 45n),
  single('a loop of more instructions than a signed byte counts goes back to its first', `r0 = 0\nr1 = 10\nagain:\nr0 += r1\nr1 -= 1\n${'r2 = r1\n'.repeat(300)}if r1 != 0 goto again\nexit`, 55n),
  single('a goto back over more instructions than a signed byte counts', `r0 = 0\nr1 = 10\nagain:\nif r1 == 0 goto end\nr0 += r1\nr1 -= 1\n${'r2 = r1\n'.repeat(300)}goto again\nend:\nexit`, 55n),
  single('a loop that never runs', 'r0 = 7\nr1 = 0\nagain:\nif r1 == 0 goto end\nr0 += 1\nr1 -= 1\ngoto again\nend:\nexit', 7n),
  single('may_goto goes on', 'r0 = 1\nmay_goto end\nr0 = 2\nend: exit', 2n),
  single('a loop that may_goto could end and its own condition does', 'r0 = 0\nagain: may_goto end\nr0 += 1\nif r0 != 100 goto again\nend: exit', 100n),
  single('a may_goto that jumps backwards goes on', 'r0 = 0\nr1 = 0\ngoto over\nback: r0 = 9\nexit\nover: r0 += 5\nmay_goto back\nexit', 5n),
  single(
    'a loop in a loop',
    `
      r0 = 0
      r1 = 0
      outer:
      r2 = 0
      inner:
      r0 += 1
      r2 += 1
      if r2 < 5 goto inner
      r1 += 1
      if r1 < 4 goto outer
      exit`,
    20n,
  ),
  single(
    'continue and break',
    `
      r0 = 0
      r1 = 0
      again:
      r1 += 1
      if r1 == 3 goto again
      if r1 == 8 goto end
      r0 += r1
      goto again
      end:
      exit`,
    25n,
  ),
  single(
    'a loop entered in its middle',
    `
      r0 = 0
      r6 = *(u32 *)(r1 +12)
      r1 = 0
      if r6 == 99 goto head
      goto middle
      head:
      r0 += 100
      middle:
      r0 += 1
      r1 += 1
      if r1 < 3 goto head
      exit`,
    203n,
  ),
  single(
    'two heads of one loop, entered at either',
    `
      r0 = 0
      r6 = *(u32 *)(r1 +12)
      r7 = 0
      if r6 == 1 goto b
      a:
      r0 += 1
      r7 += 1
      if r7 > 6 goto end
      b:
      r0 += 10
      r7 += 1
      if r7 > 6 goto end
      goto a
      end:
      exit`,
    43n,
  ),
  single('a loop over the packet', `
      r2 = *(u32 *)(r1 +0)
      r3 = *(u32 *)(r1 +4)
      r0 = 0
      r4 = 0
      again:
      r5 = r2
      r5 += 1
      if r5 > r3 goto end
      r6 = *(u8 *)(r2 +0)
      r0 += r6
      r2 += 1
      r4 += 1
      if r4 < 100 goto again
      end:
      exit`, 2016n),
  single('an endless loop is stopped', 'r0 = 0\nagain:\nr0 += 1\ngoto again', { fault: 'budget' }, { notOnLinux: 'its verifier refuses it' }),
  single('an endless loop of one instruction is stopped', 'r0 = 0\ngoto pc-1', { fault: 'budget' }, { notOnLinux: 'its verifier refuses it' }),
  single('an endless loop of a branch is stopped', 'r0 = 0\nagain:\nif r0 == 0 goto again\nexit', { fault: 'budget' }, { notOnLinux: 'its verifier refuses it' }),
];

const CALLS: readonly Case[] = [
  single('a subprogram answers in r0', 'call f\nr0 += 1\nexit\nf:\nr0 = 41\nexit', 42n),
  single('a subprogram takes five arguments', `
      r1 = 1
      r2 = 2
      r3 = 3
      r4 = 4
      r5 = 5
      call f
      exit
      f:
      r0 = r1
      r0 <<= 4
      r0 |= r2
      r0 <<= 4
      r0 |= r3
      r0 <<= 4
      r0 |= r4
      r0 <<= 4
      r0 |= r5
      exit`, 0x1_2345n),
  single('r6 to r9 are the caller\'s again after a call', `
      r6 = 1
      r7 = 2
      r8 = 3
      r9 = 4
      call f
      r0 = r6
      r0 <<= 4
      r0 |= r7
      r0 <<= 4
      r0 |= r8
      r0 <<= 4
      r0 |= r9
      exit
      f:
      r6 = 9
      r7 = 9
      r8 = 9
      r9 = 9
      r0 = 0
      exit`, 0x1234n),
  single('each function has a frame of its own', `
      *(u64 *)(r10 -8) = 1
      call f
      r1 = *(u64 *)(r10 -8)
      r0 += r1
      exit
      f:
      *(u64 *)(r10 -8) = 40
      r0 = *(u64 *)(r10 -8)
      exit`, 41n),
  single("a subprogram writes to its caller's frame", `
      *(u64 *)(r10 -8) = 1
      r1 = r10
      r1 += -8
      call f
      r0 = *(u64 *)(r10 -8)
      exit
      f:
      *(u64 *)(r1 +0) = 77
      r0 = 0
      exit`, 77n),
  single("a subprogram reads its caller's frame", `
      *(u64 *)(r10 -16) = 5
      *(u64 *)(r10 -8) = 6
      r1 = r10
      r1 += -16
      call f
      exit
      f:
      r0 = *(u64 *)(r1 +0)
      r2 = *(u64 *)(r1 +8)
      r0 *= r2
      exit`, 30n),
  single('r0 has 64 bits after a call', 'call f\nr0 += 1\nexit\nf:\nr0 = 0xffffffffffffffff\nexit', 0n),
  single('arguments have 64 bits', 'r1 = 0x123456789abcdef0\ncall f\nexit\nf:\nr0 = r1\nexit', 0x1234_5678_9abc_def0n),
  single('a subprogram called twice', 'r1 = 1\ncall f\nr1 = r0\ncall f\nexit\nf:\nr0 = r1\nr0 *= 10\nr0 += 3\nexit', 133n),
  single('a subprogram before its caller in the order of calls', 'call g\nexit\nf:\nr0 = r1\nr0 += 1\nexit\ng:\nr1 = 5\ncall f\nexit', 6n),
  single(
    'eight frames',
    Array.from({ length: 8 }, (_, depth) => (depth === 7 ? 'f7:\nr0 = 1\nexit' : `${depth === 0 ? '' : `f${depth}:\n`}call f${depth + 1}\nr0 += 1\nexit`)).join('\n'),
    8n,
  ),
  single('a subprogram with a loop', `
      r1 = 4
      call f
      exit
      f:
      r0 = 1
      again:
      r0 *= r1
      r1 -= 1
      if r1 != 0 goto again
      exit`, 24n),
  single('a subprogram with several exits', 'r1 = 5\ncall f\nexit\nf:\nif r1 > 3 goto big\nr0 = 1\nexit\nbig:\nr0 = 2\nexit', 2n),
  single('a subprogram that reads the packet', `
      r6 = r1
      call f
      r7 = r0
      r1 = r6
      call f
      r0 += r7
      exit
      f:
      r2 = *(u32 *)(r1 +0)
      r3 = *(u32 *)(r1 +4)
      r0 = 0
      r4 = r2
      r4 += 14
      if r4 > r3 goto end
      r0 = *(u8 *)(r2 +13)
      end:
      exit`, 26n),
  single('a call of something unresolved is allowed where it never runs', 'r0 = 5\nif r0 == 5 goto end\ncall 195896080\nend:\nexit', 5n),
  single('a call of something unresolved stops the program', 'call 195896080\nexit', { fault: 'unsupported' }, { notOnLinux: 'its verifier refuses it' }),
];

const SKB: { readonly type: 'sched_cls' } = { type: 'sched_cls' };
const PACKET_LOADS: readonly Case[] = [
  single('LD_ABS of 1 byte', 'r6 = r1\nr0 = *(u8 *)skb[13]\nexit', 13n, SKB),
  single('LD_ABS of 2 bytes is in network order', 'r6 = r1\nr0 = *(u16 *)skb[12]\nexit', 0x0c0dn, SKB),
  single('LD_ABS of 4 bytes is in network order', 'r6 = r1\nr0 = *(u32 *)skb[26]\nexit', 0x1a1b_1c1dn, SKB),
  single('LD_ABS of 4 bytes zero-extends', 'r6 = r1\nr0 = *(u32 *)skb[0]\nexit', 0xfffe_fdfcn, { ...SKB, packet: Uint8Array.of(0xff, 0xfe, 0xfd, 0xfc) }),
  single('LD_ABS of the last byte', 'r6 = r1\nr0 = *(u8 *)skb[63]\nexit', 63n, SKB),
  single('LD_ABS past the end returns 0', 'r6 = r1\nr0 = *(u8 *)skb[64]\nr0 = 1\nexit', 0n, SKB),
  single('LD_ABS that ends past the end returns 0', 'r6 = r1\nr0 = *(u32 *)skb[61]\nr0 = 1\nexit', 0n, SKB),
  single('LD_ABS far past the end returns 0', 'r6 = r1\nr0 = *(u8 *)skb[2147483647]\nr0 = 1\nexit', 0n, SKB),
  single('LD_ABS from the link header', 'r6 = r1\nr0 = *(u16 *)skb[-2097140]\nexit', 0x0c0dn, SKB),
  single('LD_ABS from the network header', 'r6 = r1\nr0 = *(u8 *)skb[-1048567]\nexit', 23n, SKB),
  single('LD_ABS of a negative offset that means nothing returns 0', 'r6 = r1\nr0 = *(u8 *)skb[-1]\nr0 = 1\nexit', 0n, SKB),
  single('LD_IND of 1 byte', 'r6 = r1\nr7 = 10\nr0 = *(u8 *)skb[r7 + 3]\nexit', 13n, SKB),
  single('LD_IND of 2 bytes', 'r6 = r1\nr7 = 10\nr0 = *(u16 *)skb[r7 + 2]\nexit', 0x0c0dn, SKB),
  single('LD_IND of 4 bytes', 'r6 = r1\nr7 = 10\nr0 = *(u32 *)skb[r7 + 16]\nexit', 0x1a1b_1c1dn, SKB),
  single('LD_IND with a negative offset', 'r6 = r1\nr7 = 20\nr0 = *(u8 *)skb[r7 + -7]\nexit', 13n, SKB),
  single('LD_IND past the end returns 0', 'r6 = r1\nr7 = 60\nr0 = *(u8 *)skb[r7 + 4]\nr0 = 1\nexit', 0n, SKB),
  single('LD_IND looks at the low half of its index', 'r6 = r1\nr7 = 0x10000000a\nr0 = *(u8 *)skb[r7 + 3]\nexit', 13n, SKB),
  single('r6 to r9 stay over a packet load', 'r6 = r1\nr7 = 100\nr8 = 200\nr0 = *(u8 *)skb[13]\nr0 += r7\nr0 += r8\nexit', 313n, SKB),
];

export const CONTROL_FLOW_CASES: readonly Case[] = [...JUMPS, ...LOOPS, ...CALLS, ...PACKET_LOADS];
