// The Draw screen.

import { Empty } from "../../ui/Empty";

export default function Draw() {
  return <Empty title="Draw" />;
}
