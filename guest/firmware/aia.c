/*
 * Interrupts of devices for S mode (AIA 1.0 §4) where there is an APLIC: the root domain gives all its sources to its child, and
 * the child's messages go to the interrupt files of S level. Where there is a PLIC, S mode has contexts of its own.
 */
#include "sbi.h"

#include "mmio.h"

#define APLIC 0xc000000ul
#define SOURCECFG(source) (APLIC + 4 * (u64)(source))
#define SOURCECFG_DELEGATED (1u << 10)
#define SOURCES 96
/* Page numbers of the interrupt files of hart 0; those of the other harts follow. */
#define MMSIADDRCFG (APLIC + 0x1bc0)
#define MMSIADDRCFGH (APLIC + 0x1bc4)
#define SMSIADDRCFG (APLIC + 0x1bc8)
#define SMSIADDRCFGH (APLIC + 0x1bcc)
#define FILES_M (0x24000000u >> 12)
#define FILES_S (0x28000000u >> 12)
/* Width of a hart's index: MAX_HARTS. */
#define LHXW (3u << 12)

void delegate_interrupts(void)
{
	if (!has_aia())
		return;
	write32(MMSIADDRCFG, FILES_M);
	write32(MMSIADDRCFGH, LHXW);
	write32(SMSIADDRCFG, FILES_S);
	write32(SMSIADDRCFGH, 0);
	for (u32 source = 1; source <= SOURCES; source++)
		write32(SOURCECFG(source), SOURCECFG_DELEGATED);
}
