/**
 * MessagePack (github.com/msgpack/msgpack, spec.md), as far as plain data needs it: nil, booleans, numbers, bigints, strings,
 * bytes, arrays, and maps with string keys. Ours, because it is loaded between execve and the guest's next instruction, and a
 * library that can do more takes 8 ms there. Integers of 32 bits travel as such, other numbers as float64, bigints as 64-bit
 * integers, so that each comes back as what it was.
 */

/** First bytes. Where a type has sisters for longer sizes, they follow it: bin8, bin16, bin32. */
export const TYPE = {
  fixmap: 0x80,
  fixarray: 0x90,
  fixstr: 0xa0,
  nil: 0xc0,
  false: 0xc2,
  true: 0xc3,
  bin8: 0xc4,
  float32: 0xca,
  float64: 0xcb,
  uint8: 0xcc,
  uint64: 0xcf,
  int8: 0xd0,
  int32: 0xd2,
  int64: 0xd3,
  str8: 0xd9,
  array16: 0xdc,
  map16: 0xde,
  negativeFixint: 0xe0,
} as const;

/** A string of up to so many bytes is copied byte by byte; a longer one is worth a call into Node. */
export const SHORT_STRING = 40;
