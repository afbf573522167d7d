# Sourced by the scripts of the modules, which call `az`: without it, or without a session, they would repeat the same
# error for ten minutes.
if ! command -v az > /dev/null; then
  echo "Terraform calls Azure's command line, and az is not installed. Install it and apply again." >&2
  exit 1
fi
if ! az account show --output none 2> /dev/null; then
  echo "Terraform calls Azure's command line, and az is not signed in. Run 'az login' as the identity that applies the root, and apply again." >&2
  exit 1
fi
