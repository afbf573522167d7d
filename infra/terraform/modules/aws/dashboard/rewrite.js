// CloudFront function (cloudfront-js-2.0), before the cache: the dashboard's views are paths that only its own code
// knows, so every path whose last part has no dot is the page. A missing file stays a 404: after a deployment, an old
// tab must not get the page instead of a script.
function handler(event) {
  var request = event.request;
  var last = request.uri.slice(request.uri.lastIndexOf("/") + 1);
  if (last.indexOf(".") === -1) {
    request.uri = "/index.html";
  }
  return request;
}
