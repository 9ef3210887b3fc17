/** `--iommu NAME[,key=value]…`: an IOMMU unit of the board, in the notation of --device. */
import { parseKeyval } from './device-option.ts';

export interface IommuOption {
  readonly name: string;
  readonly properties: Readonly<Record<string, string>>;
}

/** Parses an --iommu option. The board decides which properties exist. */
export function parseIommuOption(text: string): IommuOption {
  const { first: name, properties } = parseKeyval('--iommu', text, 'name');
  return { name, properties };
}

/** Board options for the --iommu options; without any, the board's default. */
export const unitsOf = (options: readonly string[]): { readonly units?: readonly IommuOption[] } =>
  options.length === 0 ? {} : { units: options.map(parseIommuOption) };

export const IOMMU_HELP = `  --iommu NAME[,...]     puts an IOMMU unit on the board, for devices with iommu=NAME; may be repeated. Without it there is one,
                         iommu0. Devices that name none are behind the first: coherent=off, pgsize=4K, max-pgsize=1G,
                         aperture-bits=39, msi=flat (a window at fee00000) or translated (as any store; 08000000) or donated (as any
                         store; the user of VFIO donates a window),
                         intremap=on (off: a VMM needs allow_unsafe_interrupts)
`;
