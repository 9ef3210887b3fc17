/** What the guest `guest-iommu` prints until it works in rounds. */
export const GUEST_IOMMU_SHOWS = `iommu: version 1.0
a page leads where its entry says: as it should be
after IOTINVAL it leads elsewhere: as it should be
a page without W is not written: as it should be
a page without an entry is not written: as it should be
the device works again: as it should be
iommu: ready
`;
