/** The bus as a device sees it (iommu/bus/dma.ts). Device folders import it from here. */
export { type Dma, type SplitIova, splitIova } from '../../iommu/bus/dma.ts';
