// Addresses of results, whole and as thumbnails. The hash lets the browser keep what it has.

import type { ArtifactRecord } from "../server/types";

type Shown = Pick<ArtifactRecord, "id" | "sha256">;

export const pictureUrl = ({ id, sha256 }: Shown): string =>
  `/artifacts/${encodeURIComponent(id)}?v=${sha256.slice(0, 12)}`;

/** At most `size` pixels on its longer side, as WebP. */
export const thumbnailUrl = (artifact: Shown, size = 384): string =>
  `${pictureUrl(artifact)}&format=webp&size=${size}`;

export const isPicture = ({ kind }: { kind: string }): boolean => kind === "image" || kind === "mask";
