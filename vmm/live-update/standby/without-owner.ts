import type { Versioned } from '../../../platform/section.ts';
import { VM_SECTION } from '../../vm/vm-state.ts';

/**
 * The sections for a VMM that has another owner than this one: the lifeline and the monitor's path
 * stay here.
 */
export function withoutOwner<S extends Readonly<Record<string, Versioned>>>(sections: S): S {
  const vm = VM_SECTION.decode(sections[VM_SECTION.name]!);
  const { lifeline: _, qmp: __, ...options } = vm.options;
  return { ...sections, [VM_SECTION.name]: VM_SECTION.of({ ...vm, options }) };
}
