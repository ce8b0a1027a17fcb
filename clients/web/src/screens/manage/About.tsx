// Manage, About: this server, what it takes, how other apps reach it, and how the page looks.

import type { ReactNode } from "react";

import { applyTheme, type Theme, useTheme } from "../../app/theme";
import { useServer } from "../../server/store";
import { CopyButton } from "../../ui/CopyButton";
import { size } from "../../ui/format";
import { Facts } from "./Facts";
import css from "./Manage.module.css";

export function About() {
  return (
    <div className={css.sections}>
      <Section title="This server"><Server /></Section>
      <Section title="Other apps"><Addresses /></Section>
      <Section title="This page"><Look /></Section>
    </div>
  );
}

function Section({ title, children }: { title: string; children: ReactNode }) {
  return <section><h2>{title}</h2>{children}</section>;
}

function Server() {
  const hello = useServer((server) => server.hello);
  if (!hello) return <p className={css.soft}>The server has not said yet what it is.</p>;
  const { limits } = hello;
  const facts = [
    ["Version", `stable-core ${hello.version}`],
    ["You are", `${hello.owner}${hello.rights.includes("admin") ? ", who may change everything" : ""}`],
    ["Largest upload", size(limits.upload_bytes)],
    ["Largest picture", `${Math.round(limits.pixels / 1e6)} megapixels`],
  ];
  return <Facts facts={facts} />;
}

function Addresses() {
  const { origin } = location;
  const apps = [
    ["A1111", origin, "any user, the token as password"],
    ["OpenAI's images", `${origin}/v1`, "the token as API key"],
    ["MCP", `${origin}/mcp`, "the header Authorization: Bearer TOKEN"],
    ["Our own API", `${origin}/api/v1`, "described by openapi.json there"],
  ];
  return (
    <>
      <p>Apps made for these draw here, too, once they know the address and the token. This page does not know the token:
        it is in the address that the server printed when it started.</p>
      <dl className={css.addresses}>
        {apps.map(([name, address, how]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd><code>{address}</code> <CopyButton text={address} what={`the address for ${name}`} /> <span className={css.soft}>{how}</span></dd>
          </div>
        ))}
      </dl>
    </>
  );
}

function Look() {
  const chosen = useTheme((state) => state.theme);
  return (
    <>
      <label className={css.choice}>
        Theme
        <select value={chosen} onChange={(event) => applyTheme(event.target.value as Theme)}>
          <option value="system">As the system has it</option>
          <option value="light">Light</option>
          <option value="dark">Dark</option>
        </select>
      </label>
      <p className={css.soft}>Press <kbd>?</kbd> on any screen for its keyboard shortcuts. A simpler page, which needs less of a
        browser, is at <a href="/plain/">/plain/</a>.</p>
    </>
  );
}
