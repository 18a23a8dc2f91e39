// The types of runs in words.

export const runTypes: [value: string, label: string][] = [
  ["scheduled", "Scheduled"],
  ["manual", "Manual"],
  ["backfill", "Backfill"],
  ["asset_triggered", "Asset"],
  ["unknown", "Unknown"],
];

export function runTypeLabel(type: string): string {
  return runTypes.find(([value]) => value === type)?.[1] ?? type;
}
