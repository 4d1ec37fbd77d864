"""The template of jobs with a pod's own image in it, by another tag: ``job_template.py POD TAG TEMPLATE OUT``.

The cluster's API says which image this pod was given: a registry that kustomize, a chart or a mirror of the cluster has
put into the manifests holds for the runs as well. Asked with the pod's own account, which may read pods and no more.
"""

import json
import sys
from pathlib import Path
from ssl import SSLContext, create_default_context
from urllib.request import Request, urlopen

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts a pod's account."""
API = "https://kubernetes.default.svc"
PATIENCE_SECONDS = 20


def own_image(account: Path, api: str, pod: str) -> str:
    """The image of the first container of a pod."""
    checked: SSLContext | None = create_default_context(cafile=account / "ca.crt") if api.startswith("https:") else None
    address = f"{api}/api/v1/namespaces/{(account / 'namespace').read_text()}/pods/{pod}"
    asked = Request(address, headers={"Authorization": f"Bearer {(account / 'token').read_text()}"})
    with urlopen(asked, timeout=PATIENCE_SECONDS, context=checked) as answer:
        image: str = json.load(answer)["spec"]["containers"][0]["image"]
    return image


def tagged(image: str, tag: str) -> str:
    """The same image by another tag: ``registry:5000/goms:cpu`` and ``goms@sha256:...`` have one alike."""
    folder, slash, name = image.partition("@")[0].rpartition("/")
    return f"{folder}{slash}{name.partition(':')[0]}:{tag}"


def main(pod: str, tag: str, template: Path, out: Path, account: Path = ACCOUNT, api: str = API) -> int:
    """Write the template, or say why not."""
    try:
        image = tagged(own_image(account, api, pod), tag)
    except OSError as error:
        print(f"goms: needed this pod's image; found {error}; in {api}, pod {pod}; look at the account goms-deploy and "
              "its network policy", file=sys.stderr)  # fmt: skip
        return 6
    content = json.loads(template.read_text())
    content["variables"]["properties"]["image"]["default"] = image
    out.write_text(json.dumps(content))
    print(f"runs have the image {image}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])))
