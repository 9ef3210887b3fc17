/** The lines before a recording: what `livevmm conform` needs to build the same machine again. */
export interface RecordedHost {
  readonly profile: string;
  /** The values of --device, --iommu and --memlock. */
  readonly devices: readonly string[];
  readonly iommus: readonly string[];
  readonly memlock: string;
}

export function recordingHeader(
  { profile, devices, iommus, memlock }: RecordedHost,
  program: readonly string[],
): string {
  const lines = [
    `#%uname ${profile}`,
    ...devices.map((device) => `#%device ${device}`),
    ...iommus.map((iommu) => `#%iommu ${iommu}`),
    `#%memlock ${memlock}`,
    `# group program: ${program.join(' ').replaceAll('\n', ' ')}`,
  ];
  return `${lines.join('\n')}\n`;
}
