/** BTF in the kernel, for as long as something is made with it. */
import { XdplabError } from '../../errors.ts';
import type { BtfImage } from './btf-image.ts';
import { KernelRefusal, type Linux } from './linux.ts';

/** Maps and programs that `use` makes with the descriptor keep the BTF; the descriptor itself is closed. `name` begins the error. */
export function loadBtf<T>(linux: Linux, image: BtfImage, name: string, use: (fd: number) => T): T {
  const bytes = image.bytes();
  const memory = linux.allocate(bytes.length);
  memory.bytes.set(bytes);
  const fd = linux.open('btf_load', { btf: memory.address, btf_size: bytes.length });
  linux.unmap(memory);
  if (fd < 0) throw new KernelRefusal('ERR_BTF', fd, `${name}: Linux refuses its BTF`);
  try {
    return use(fd);
  } finally {
    linux.close(fd);
  }
}

/** What a program is loaded with. Where Linux refuses the BTF, as of functions whose arguments have no names, it is loaded without, as libbpf does it. */
export function withBtf<T>(linux: Linux, image: BtfImage, name: string, use: (btf: { readonly image: BtfImage; readonly fd: number } | undefined) => T): T {
  try {
    return loadBtf(linux, image, name, (fd) => use({ image, fd }));
  } catch (error) {
    if (!(error instanceof XdplabError) || error.code !== 'ERR_BTF') throw error;
    return use(undefined);
  }
}
