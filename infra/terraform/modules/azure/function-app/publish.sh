# Publishes the package to the function app, once the app can run it.
#
# APP: the resource id of the function app. PACKAGE: the zip. SECRETS: the number of settings that refer to the key
# vault. FUNCTIONS: the names of the functions in the package.
. "$SIGNED_IN"

version="api-version=2022-03-01"

# Try a command up to $1 times, every 15 seconds.
retry() {
  left=$1
  shift
  until "$@"; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || return 1
    sleep 15
  done
}

give_up() {
  echo "$1" >&2
  exit 1
}

# The provider writes a connection string without a key into these settings each time that it writes the app. The host
# would prefer it to the identity, and an empty value stops the host too.
forget_connection_strings() {
  az functionapp config appsettings delete --ids "$APP" --output none \
    --setting-names AzureWebJobsStorage DEPLOYMENT_STORAGE_CONNECTION_STRING
}

# "Use Key Vault references as app settings": references that could not be read when the app was created are refreshed
# until the role for the vault is effective.
resolved() {
  references="$APP/config/configreferences/appsettings"
  az rest --method post --url "$references/refresh?$version" --output none
  known=$(az rest --method get --url "$references?$version" --output tsv \
    --query "length(value[?properties.status=='Resolved'])")
  [ "$known" = "$SECRETS" ]
}

publish() {
  az functionapp deployment source config-zip --ids "$APP" --src "$PACKAGE" --build-remote false --output none
}

# Event Grid refuses a subscription for a function that Azure does not list yet.
listed() {
  az rest --method get --url "$APP/functions/$1?$version" --output none
}

retry 4 forget_connection_strings || give_up "The connection strings of $APP could not be deleted: az printed the reason above."
# On Linux, Azure may report a status other than Resolved for a reference that the app can read: the smoke test decides.
retry 40 resolved ||
  echo "Warning: $APP reports ${known:-none} of $SECRETS key vault references as Resolved. Publishing anyway: if the functions answer 500, check its role for the vault." >&2
retry 4 publish || give_up "The package could not be published to $APP: az printed the reason above."
for function in $FUNCTIONS; do
  retry 40 listed "$function" ||
    give_up "Azure does not list the function $function ten minutes after it was published: see the log of $APP."
done
