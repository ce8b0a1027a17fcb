// Files that come to the canvas: a flow is opened, anything else becomes a node.

import type { XYPosition } from "@xyflow/react";

import { complain, say } from "../../app/notices";
import { client } from "../../server/client";
import { useServer } from "../../server/store";
import { addGiven, open, setGiven } from "./editor";
import { readFlow } from "./file";

/** Puts a file into the given node `id`. */
export async function upload(file: File, id: string): Promise<void> {
  try {
    const { record } = await client.upload(file, { name: file.name });
    setGiven(id, { artifact: record.id, kind: record.kind, name: record.name ?? file.name });
  } catch (error) {
    complain(error);
  }
}

/** Takes a dropped or pasted file, into the node `id` if there is one. */
export async function take(file: File, position: XYPosition, id?: string): Promise<void> {
  if (file.name.endsWith(".json") && (await openFile(file, true))) return;
  void upload(file, id ?? addGiven({ artifact: "", kind: kindOf(file), name: file.name }, position));
}

/** Opens a file as a flow; false if it is none, which is told unless it is `maybe` something else. */
export async function openFile(file: File, maybe = false): Promise<boolean> {
  try {
    const flow = readFlow(await file.text(), useServer.getState().catalogue);
    open({ ...flow, name: flow.name || file.name.replace(/\.json$/, "") });
    say(`Opened ${file.name}. Undo brings back what was here.`);
    return true;
  } catch (error) {
    if (!maybe) complain(error);
    return false;
  }
}

function kindOf({ type }: File): string {
  const [kind] = type.split("/");
  if (["image", "audio", "video", "text"].includes(kind)) return kind;
  return type === "application/json" ? "json" : "image";
}
