/**
 * Kernel functions for objects that programs allocate, and for lists and trees of them (Linux
 * Documentation/bpf/graph_ds_impl.rst). Nothing here allocates: what is known of them is what Linux refuses. As nobody
 * has such an object, that is most of it.
 */
import type { ProgramType } from '../bpf/spec.ts';

/** What an argument has to be. */
export type GraphArgument =
  /** Number of a struct in the program's BTF, a constant. */
  | 'type_id'
  | 'scalar'
  /** Put there by the verifier. */
  | 'ignored'
  | 'callback'
  | 'allocated'
  | 'refcounted'
  | 'bpf_list_head'
  | 'bpf_rb_root'
  /** Part of an allocated object; `linked`: of one that is in the tree. */
  | 'node'
  | 'linked_node';

export interface GraphFunction {
  readonly name: string;
  readonly args: readonly GraphArgument[];
}

/** Program types that may call them. */
export const GRAPH_PROGRAMS: readonly ProgramType[] = ['xdp', 'sched_cls', 'cgroup_skb'];

const rows: readonly GraphFunction[] = [
  { name: 'bpf_obj_new_impl', args: ['type_id', 'ignored'] },
  { name: 'bpf_percpu_obj_new_impl', args: ['type_id', 'ignored'] },
  { name: 'bpf_obj_drop_impl', args: ['allocated', 'ignored'] },
  { name: 'bpf_percpu_obj_drop_impl', args: ['allocated', 'ignored'] },
  { name: 'bpf_refcount_acquire_impl', args: ['refcounted', 'ignored'] },
  { name: 'bpf_list_push_front_impl', args: ['bpf_list_head', 'node', 'ignored', 'scalar'] },
  { name: 'bpf_list_push_back_impl', args: ['bpf_list_head', 'node', 'ignored', 'scalar'] },
  { name: 'bpf_list_pop_front', args: ['bpf_list_head'] },
  { name: 'bpf_list_pop_back', args: ['bpf_list_head'] },
  { name: 'bpf_list_front', args: ['bpf_list_head'] },
  { name: 'bpf_list_back', args: ['bpf_list_head'] },
  { name: 'bpf_rbtree_add_impl', args: ['bpf_rb_root', 'node', 'callback', 'ignored', 'scalar'] },
  { name: 'bpf_rbtree_remove', args: ['bpf_rb_root', 'linked_node'] },
  { name: 'bpf_rbtree_first', args: ['bpf_rb_root'] },
  { name: 'bpf_rbtree_root', args: ['bpf_rb_root'] },
  { name: 'bpf_rbtree_left', args: ['bpf_rb_root', 'linked_node'] },
  { name: 'bpf_rbtree_right', args: ['bpf_rb_root', 'linked_node'] },
];

export const GRAPH_FUNCTIONS: ReadonlyMap<string | undefined, GraphFunction> = new Map(rows.map((row) => [row.name, row]));
