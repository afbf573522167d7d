import "@testing-library/jest-dom/vitest";

import { cleanup, configure } from "@testing-library/react";
import { afterEach } from "vitest";

import { PATIENCE_MS } from "./support/eventually";

configure({ asyncUtilTimeout: PATIENCE_MS });

// jsdom lacks these functions; the tests in a browser use the browser's own.
HTMLDialogElement.prototype.showModal = function showModal() {
  this.open = true;
};
HTMLDialogElement.prototype.close = function close() {
  this.open = false;
};
Element.prototype.scrollTo = () => undefined;
Blob.prototype.text = function text() {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => {
      resolve(reader.result as string);
    };
    reader.onerror = () => {
      reject(new Error("the file can't be read"));
    };
    reader.readAsText(this);
  });
};

afterEach(() => {
  cleanup();
  history.replaceState(null, "", "/");
});
