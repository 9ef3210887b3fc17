/** qmp_capabilities, the command that ends negotiation. A connection answers it by itself. */
import { arrayOf, enumOf, NOTHING, object } from './qapi.ts';

/**
 * QEMU has one capability, oob (commands out of band), and so clients may ask for it. We refuse it.
 */
export const NEGOTIATION = { args: object({}, { enable: arrayOf(enumOf('oob')) }), returns: NOTHING };
