# Waits until the vault of the name $VAULT admits the identity that is signed in.
#
# Azure RBAC documentation, "Troubleshoot Azure RBAC": a new role takes up to ten minutes to become effective, and the
# provider does not wait for it.
. "$SIGNED_IN"

tries=0
until az keyvault secret list --vault-name "$VAULT" --maxresults 1 --output none; do
  tries=$((tries + 1))
  if [ "$tries" -ge 60 ]; then
    echo "The vault $VAULT still refuses this identity after ten minutes: az printed the reason above." >&2
    exit 1
  fi
  sleep 10
done
