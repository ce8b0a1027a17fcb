// Numbers and names as people read them: sizes, times, durations, jobs.

const UNITS = ["bytes", "KB", "MB", "GB", "TB"];

/** 4265146304 is "4.3 GB". */
export function size(bytes: number): string {
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), UNITS.length - 1);
  const amount = bytes / 1000 ** power;
  return `${power && amount < 100 ? amount.toFixed(1) : Math.round(amount)} ${UNITS[power]}`;
}

/** Seconds since 1970 as date and time of here. */
export const moment = (seconds: number): string =>
  new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

/** Seconds since 1970 as the time of day. */
export const clock = (seconds: number): string =>
  new Date(seconds * 1000).toLocaleTimeString(undefined, { hour12: false });

/** 95 is "1 min 35 s". */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** "make larger" of "plugin.make_larger". */
export const jobTitle = (name: string): string => name.slice(name.indexOf(".") + 1).replaceAll("_", " ");

/** The device that ran a job: "gpu1/cuda:0" of the machine gpu1; "" for none, and for programs. */
export const deviceOf = (worker: string | null | undefined): string => {
  const device = worker?.slice(worker.indexOf("@") + 1) ?? "";
  return device === "side" ? "" : device;
};

/** What a plugin names as an address, where it is one of the web: nothing else may become a link. */
export const webAddress = (text: string | undefined): string | undefined => (/^https?:/.test(text ?? "") ? text : undefined);
