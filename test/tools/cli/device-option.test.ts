import { describe, expect, it } from 'vitest';

import { UsageError } from '../../../tools/cli/command.ts';
import { fullBdf, helpRequest, parseDeviceOption, passthroughBdf } from '../../../tools/cli/device-option.ts';

describe('helpRequest', () => {
  it.each([
    ['help', 'all'],
    ['edu,help', { type: 'edu', properties: {} }],
    ['edu,note=a,,b,help,addr=3', { type: 'edu', properties: { note: 'a,b', addr: '3' } }],
    ['edu', undefined],
    ['edu,note=help', undefined],
    ['edu,fast', undefined],
  ])('%j → %j', (text, request) => {
    expect(helpRequest(text)).toEqual(request);
  });

  it('does not take what is no property for one', () => {
    expect(() => helpRequest('edu,fast,help')).toThrow(new UsageError("--device edu: 'fast' is not key=value"));
  });
});

describe('parseDeviceOption', () => {
  it('reads the type alone', () => {
    expect(parseDeviceOption('edu')).toEqual({ type: 'edu', properties: {} });
  });

  it('reads properties in any number, with empty values and equals signs inside', () => {
    expect(parseDeviceOption('edu,dma-mask=0xffff,label=,note=a=b')).toEqual({
      type: 'edu',
      properties: { 'dma-mask': '0xffff', label: '', note: 'a=b' },
    });
  });

  it('reads a doubled comma as a comma of the value, as QEMU does', () => {
    expect(parseDeviceOption('capture,name=a,,b,rate=1')).toEqual({
      type: 'capture',
      properties: { name: 'a,b', rate: '1' },
    });
  });

  it.each([
    ['', 'expected type'],
    [',a=b', 'expected type'],
    ['a=b', 'expected type'],
    ['edu,', "'' is not key=value"],
    ['edu,fast', "'fast' is not key=value"],
    ['edu,=1', "'=1' is not key=value"],
    ['edu,a=1,a=2', 'a is given twice'],
  ])('refuses %j', (text, message) => {
    expect(() => parseDeviceOption(text)).toThrow(UsageError);
    expect(() => parseDeviceOption(text)).toThrow(message);
  });
});

describe('fullBdf', () => {
  it.each([
    ['0000:00:02.0', '0000:00:02.0'],
    ['00:02.0', '0000:00:02.0'],
    ['1:1f.7', '0000:01:1f.7'],
    ['10:AB:1F.3', '0010:ab:1f.3'],
  ])('gives %s in full as %s', (text, full) => {
    expect(fullBdf(text)).toBe(full);
  });

  it.each(['', '02.0', '00:02.8', '00:20.0', '0000:00:02.0 ', 'x:02.0'])('knows that %j is none', (text) => {
    expect(fullBdf(text)).toBeUndefined();
  });
});

describe('passthroughBdf', () => {
  it('gives the host address in full', () => {
    expect(passthroughBdf(parseDeviceOption('vfio-pci,host=00:03.0'))).toBe('0000:00:03.0');
  });

  it.each([
    ['vfio-pci', 'give host=BDF'],
    ['vfio-pci,host=nothing', 'not a PCI address'],
    ['vfio-pci,host=00:02.0,x=1', "no property 'x'"],
  ])('refuses %s', (text, message) => {
    expect(() => passthroughBdf(parseDeviceOption(text))).toThrow(message);
  });
});
