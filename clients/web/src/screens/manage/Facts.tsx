// Names and values below each other.

import css from "./Manage.module.css";

export const Facts = ({ facts }: { facts: string[][] }) => (
  <dl className={css.facts}>
    {facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}
  </dl>
);
