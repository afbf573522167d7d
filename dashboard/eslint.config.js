import { readdirSync } from "node:fs";

import jsxA11y from "eslint-plugin-jsx-a11y";
import reactHooks from "eslint-plugin-react-hooks";
import tseslint from "typescript-eslint";

/** The layers: each folder of src/ imports only the folders before it, and no feature imports another feature. */
const LAYERS = ["lib", "api", "live", "state", "ui", "features", "app"];
const FEATURES = readdirSync(new URL("src/features", import.meta.url));

const forbid = (files, patterns) => ({
  files,
  rules: { "no-restricted-imports": ["error", { patterns }] },
});

const ABOVE = { group: ["../*"], message: "Import with ./ within a folder and with @/ across folders." };

const later = (layer) => ({
  group: LAYERS.slice(LAYERS.indexOf(layer) + 1).map((name) => `@/${name}/*`),
  message: `src/${layer} must not import the layers above it.`,
});

const boundaries = [
  ...LAYERS.slice(0, -1).map((layer) => forbid([`src/${layer}/**`], [ABOVE, later(layer)])),
  ...FEATURES.map((feature) =>
    forbid(
      [`src/features/${feature}/**`],
      [
        ABOVE,
        later("features"),
        {
          group: FEATURES.filter((other) => other !== feature).map((other) => `@/features/${other}/*`),
          message: "A feature must not import another feature; combine them in src/app.",
        },
      ],
    ),
  ),
  forbid(["src/app/**"], [ABOVE]),
];

export default tseslint.config(
  { ignores: ["dist", "src/api/schema.d.ts"] },
  {
    files: ["src/**/*.{ts,tsx}", "tests/**/*.{ts,tsx}", "vite.config.ts"],
    extends: [
      tseslint.configs.strictTypeChecked,
      tseslint.configs.stylisticTypeChecked,
      jsxA11y.flatConfigs.strict,
      reactHooks.configs.flat["recommended-latest"],
    ],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      "no-console": "error",
      eqeqeq: "error",
      "@typescript-eslint/explicit-module-boundary-types": "error",
      // Numbers are safe to print in a template.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // JSX hides an element with `cond && …`, whatever the type of cond; ?? would show it.
      "@typescript-eslint/prefer-nullish-coalescing": ["error", { ignorePrimitives: { string: true } }],
    },
  },
  ...boundaries,
  {
    files: ["tests/**"],
    rules: {
      // Only the private fields show whether memory stays flat.
      "@typescript-eslint/dot-notation": ["error", { allowPrivateClassPropertyAccess: true }],
    },
  },
);
