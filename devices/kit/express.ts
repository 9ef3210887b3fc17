/**
 * A PCI Express function (PCIe 6.0 §7.5.3): an endpoint of the root complex, which has no link. Its
 * extended capabilities are error reporting (§7.8.4) and a serial number (§7.9.3).
 */
import {
  PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V2,
  PCI_CAP_ID_EXP,
  PCI_ERR_CAP,
  PCI_ERR_CAP_ECRC_CHKE,
  PCI_ERR_CAP_ECRC_GENE,
  PCI_ERR_COR_ALL,
  PCI_ERR_COR_MASK,
  PCI_ERR_COR_STATUS,
  PCI_ERR_ROOT_COMMAND,
  PCI_ERR_UNC_ALL,
  PCI_ERR_UNC_INTN,
  PCI_ERR_UNCOR_MASK,
  PCI_ERR_UNCOR_SEVER,
  PCI_ERR_UNCOR_STATUS,
  PCI_EXP_DEVCAP,
  PCI_EXP_DEVCAP_FLR,
  PCI_EXP_DEVCAP_RBER,
  PCI_EXP_DEVCTL,
  PCI_EXP_DEVCTL_BCR_FLR,
  PCI_EXP_DEVCTL_NOSNOOP_EN,
  PCI_EXP_DEVCTL_READRQ_512B,
  PCI_EXP_DEVCTL_RELAX_EN,
  PCI_EXP_DEVCTL2,
  PCI_EXP_DEVCTL2_COMP_TIMEOUT,
  PCI_EXP_FLAGS,
  PCI_EXP_TYPE_RC_END,
  PCI_EXT_CAP_DSN_SIZEOF,
  PCI_EXT_CAP_ID_DSN,
  PCI_EXT_CAP_ID_ERR,
} from '../../iommu/abi/pci-regs.ts';
import type { ConfigSpace } from './config-space.ts';

const VERSION = 2;
/** DEVCTL: phantom functions (9) and auxiliary power (10) do not exist here. */
const DEVCTL_WRITABLE = 0x79ff;
/** The errors that are fatal at power-on (PCIe 6.0 §7.8.4.4). */
const FATAL_AT_POWER_ON = 0x0046_2030;
/** A prefix that no maker has. */
const SERIAL_HIGH = 0x0200_5e00;

export class ExpressCapability {
  readonly #config: ConfigSpace;
  readonly #at: number;
  readonly #errors: number;
  readonly #hasFlr: boolean;

  /** `serial`: the low half of the serial number. */
  constructor(config: ConfigSpace, hasFlr: boolean, serial: number) {
    this.#config = config;
    this.#hasFlr = hasFlr;
    this.#at = config.addCapability(PCI_CAP_ID_EXP, PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V2);
    config.set(this.#at + PCI_EXP_FLAGS, 2, VERSION | (PCI_EXP_TYPE_RC_END << 4));
    config.set(this.#at + PCI_EXP_DEVCAP, 4, PCI_EXP_DEVCAP_RBER | (hasFlr ? PCI_EXP_DEVCAP_FLR : 0));
    const atPowerOn = PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_READRQ_512B;
    config.set(this.#at + PCI_EXP_DEVCTL, 2, atPowerOn);
    config.allow(this.#at + PCI_EXP_DEVCTL, 2, DEVCTL_WRITABLE);
    config.allow(this.#at + PCI_EXP_DEVCTL2, 2, PCI_EXP_DEVCTL2_COMP_TIMEOUT);
    this.#errors = config.addExtended(PCI_EXT_CAP_ID_ERR, 2, PCI_ERR_ROOT_COMMAND);
    config.allowClear(this.#errors + PCI_ERR_UNCOR_STATUS, 4, PCI_ERR_UNC_ALL);
    config.allow(this.#errors + PCI_ERR_UNCOR_MASK, 4, PCI_ERR_UNC_ALL);
    config.set(this.#errors + PCI_ERR_UNCOR_SEVER, 4, FATAL_AT_POWER_ON);
    config.allow(this.#errors + PCI_ERR_UNCOR_SEVER, 4, PCI_ERR_UNC_ALL);
    config.allowClear(this.#errors + PCI_ERR_COR_STATUS, 4, PCI_ERR_COR_ALL);
    config.allow(this.#errors + PCI_ERR_COR_MASK, 4, PCI_ERR_COR_ALL);
    config.allow(this.#errors + PCI_ERR_CAP, 4, PCI_ERR_CAP_ECRC_GENE | PCI_ERR_CAP_ECRC_CHKE);
    const number = config.addExtended(PCI_EXT_CAP_ID_DSN, 1, PCI_EXT_CAP_DSN_SIZEOF);
    config.set(number + 4, 4, serial);
    config.set(number + 8, 4, SERIAL_HIGH);
  }

  /** Whether a configuration write starts a function-level reset. */
  startsReset(offset: number, size: number, value: number): boolean {
    const byte = this.#at + PCI_EXP_DEVCTL + 1 - offset;
    const bit = PCI_EXP_DEVCTL_BCR_FLR >>> 8;
    return this.#hasFlr && byte >= 0 && byte < size && ((value >>> (8 * byte)) & bit) !== 0;
  }

  /** The device has met an uncorrectable error inside itself. */
  recordError(): void {
    const at = this.#errors + PCI_ERR_UNCOR_STATUS;
    this.#config.set(at, 4, this.#config.get(at, 4) | PCI_ERR_UNC_INTN);
  }
}
