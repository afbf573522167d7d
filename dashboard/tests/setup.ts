import "@testing-library/jest-dom/vitest";

import { cleanup, configure } from "@testing-library/react";
import { afterEach } from "vitest";

import { PATIENCE_MS } from "./support/eventually";

configure({ asyncUtilTimeout: PATIENCE_MS });

// jsdom lacks what the page uses of these; the browser's own are used when the page is looked at in one.
HTMLDialogElement.prototype.showModal = function showModal() {
  this.open = true;
};
HTMLDialogElement.prototype.close = function close() {
  this.open = false;
};
Element.prototype.scrollTo = () => undefined;

afterEach(() => {
  cleanup();
  history.replaceState(null, "", "/");
});
