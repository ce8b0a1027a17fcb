// Socket.IO 5 over one WebSocket, as much of it as a page needs: calls with an answer, events with attachments.

const LONGEST_WAIT = 10_000; // milliseconds between two attempts to connect
const ONCE = new Set(["retry", "subscribe"]); // calls that must not be sent a second time after a lost connection

export class Socket {
  /** `onEvent(name, body)` receives events; `onState("connected" | "refused" | "lost", wait)` the connection's state. */
  constructor(onEvent, onState) {
    Object.assign(this, { onEvent, onState, calls: new Map(), number: 0, wait: 500, connected: false });
    this.open();
    addEventListener("online", () => this.connected || this.open());
  }

  /** Sends an event and resolves to its answer, or rejects with the server's error. Waits for a connection. */
  call(event, data = {}) {
    return new Promise((resolve, reject) => {
      if (!this.connected && ONCE.has(event)) throw new Error("There is no connection to the server just now.");
      const id = this.number++;
      const packet = `42${id}${JSON.stringify([event, data])}`;
      this.calls.set(id, { event, packet, resolve, reject });
      if (this.connected) this.socket.send(packet);
    });
  }

  open() {
    clearTimeout(this.timer);
    this.socket?.close();
    const url = new URL("/socket.io/?EIO=4&transport=websocket", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = (this.socket = new WebSocket(url));
    socket.onmessage = ({ data }) => socket === this.socket && this.receive(data);
    socket.onclose = () => socket === this.socket && this.lost(this.wait);
  }

  /** Forgets this connection and makes another one after `wait` milliseconds. */
  lost(wait) {
    if (!this.socket) return;
    this.socket.close();
    this.socket = null;
    this.connected = false;
    clearTimeout(this.silence);
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
    for (const [id, call] of this.calls) {
      if (!ONCE.has(call.event)) continue;
      this.calls.delete(id);
      call.reject(new Error("The connection was lost before the server answered. Look whether it was done."));
    }
    this.timer = setTimeout(() => this.open(), wait);
    this.onState("lost", wait);
  }

  receive(data) {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.lost(0), this.patience ?? 60_000);
    if (typeof data !== "string") return this.attach(data);
    const [type, rest] = [data[0], data.slice(1)];
    if (type === "2") this.socket.send("3"); // ping, pong
    else if (type === "0") {
      const { pingInterval, pingTimeout } = JSON.parse(rest);
      this.patience = pingInterval + pingTimeout;
      this.socket.send("40");
    } else if (rest.startsWith("0")) this.welcome();
    else if (rest.startsWith("4")) this.refused();
    else if (rest.startsWith("2")) this.onEvent(...JSON.parse(rest.slice(1)));
    else if (rest.startsWith("3")) this.answer(...rest.match(/^3(\d+)(.*)$/s).slice(1));
    else if (rest.startsWith("5")) {
      const [, wanted, packet] = rest.match(/^5(\d+)-(.*)$/s);
      this.partial = { wanted: Number(wanted), packet, attachments: [] };
    } else if (rest.startsWith("1")) this.lost(this.wait); // the server ends the session
  }

  welcome() {
    const unanswered = [...this.calls.values()];
    this.connected = true;
    this.wait = 500;
    this.onState("connected", 0);
    for (const { packet } of unanswered) this.socket.send(packet);
  }

  refused() {
    this.socket.close();
    this.socket = null;
    clearTimeout(this.silence);
    this.onState("refused", 0);
  }

  answer(id, text) {
    const call = this.calls.get(Number(id));
    this.calls.delete(Number(id));
    const [answer] = JSON.parse(text);
    if (answer.ok) call?.resolve(answer);
    else call?.reject(Object.assign(new Error(), answer.error));
  }

  /** A binary frame: one attachment of the event that was announced before it. */
  attach(blob) {
    const { attachments, wanted, packet } = this.partial;
    if (attachments.push(blob) < wanted) return;
    this.onEvent(...JSON.parse(packet, (key, value) => (value?._placeholder ? attachments[value.num] : value)));
  }
}

/** Stores `body` as an artifact of `kind` and returns its record; throws what the server has against it. */
export async function upload(kind, body, name = "") {
  const query = new URLSearchParams({ kind, name });
  const unreachable = { error: { message: "The upload did not arrive. Is the connection there? Try again." } };
  const answer = await fetch(`/artifacts?${query}`, { method: "PUT", body }).then((it) => it.json()).catch(() => unreachable);
  if (!answer.ok) throw Object.assign(new Error(), answer.error);
  return answer.artifact;
}
