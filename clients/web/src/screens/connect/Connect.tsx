// The Connect screen.

import { Empty } from "../../ui/Empty";

export default function Connect() {
  return <Empty title="Connect" />;
}
