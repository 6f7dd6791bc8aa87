"""Secrets and configs of a stack: what is there stays, what is new is made, and changed content gets a new object.

The content of a secret or config never changes in a swarm. So changed content is another object, named by its content;
the services are moved to it, and the old one is removed once nobody uses it. Docker's `stack deploy` fails there.
"""

from collections.abc import Callable, Mapping, Set
from typing import Any

from shoal.cli.errors import CommandError, Refused
from shoal.cli.json_client import Object
from shoal.cli.stack_api import StackApi, identity_of, labels_of, name_of, version_of
from shoal.cli.stack_plan import DIGEST, KEY, Plan, digest, named_by_content
from shoal.compose.convert.contents import Content

Say = Callable[[str], None]
# What a manager answers where an update has other data: swarmkit manager/controlapi/secret.go.
_HTTP_BAD_REQUEST, _OTHER_DATA = 400, "only updates to Labels are allowed"
Found = dict[str, tuple[str, str]]


def settle(api: StackApi, plan: Plan, section: str, say: Say) -> Found:
    """Return the name and id of each secret, or config, after making those that are not there. Raises CommandError."""
    there = {name_of(each): each for each in api.json.many(f"/{section}")}
    found: Found = {}
    for content in plan.contents[section]:
        if content.external:
            _check_there(content, there)
            found[content.key] = content.name, identity_of(there[content.name])
        else:
            found[content.key] = _settled(api, content, there, say)
    return found


def check_external(api: StackApi, plan: Plan) -> None:
    """Raise CommandError unless the secrets and configs that must be there are there."""
    for section, all_of in plan.contents.items():
        external = [each for each in all_of if each.external]
        there = {name_of(each): each for each in api.json.many(f"/{section}")} if external else {}
        for content in external:
            _check_there(content, there)


def _check_there(content: Content, there: Mapping[str, Object]) -> None:
    if content.name not in there:
        at = f"{content.place.named_at}: {content.section}.{content.key}"
        raise CommandError(f"{at}: there is no {content.section.removesuffix('s')} {content.name}")


def _settled(api: StackApi, content: Content, there: Mapping[str, Object], say: Say) -> tuple[str, str]:
    wanted = digest(content)
    names = (content.name, named_by_content(content.name, wanted))
    # Both are looked at before one is made: the first is gone once its content changed, and services have the second.
    for present in (there[name] for name in names if name in there):
        if _is_same(api, content, present, wanted):
            _label(api, content, present, wanted)
            return name_of(present), identity_of(present)
    for name in names:
        if name not in there:
            return name, _made(api, content, name, wanted, say)
    raise CommandError(f"{content.section}.{content.key}: {names[-1]} is there with other content: remove it")


def _spec(content: Content, name: str, wanted: str) -> dict[str, Any]:
    labels = {**content.spec["Labels"], KEY: content.key, DIGEST: wanted}
    return {**content.spec, "Name": name, "Labels": labels}


def _made(api: StackApi, content: Content, name: str, wanted: str, say: Say) -> str:
    say(f"Creating {content.section.removesuffix('s')} {name}")
    return str(api.send(f"/{content.section}/create", _spec(content, name, wanted)).get("ID", ""))


def _is_same(api: StackApi, content: Content, present: Object, wanted: str) -> bool:
    labelled = labels_of(present).get(DIGEST)
    if labelled is not None:
        return labelled == wanted
    if content.section == "configs":
        return bool(present.get("Spec", {}).get("Data", "") == content.spec.get("Data", ""))
    # Made by Docker's command. Nobody can read a secret, but an update with other content is refused.
    try:
        _update(api, content, present, _spec(content, name_of(present), wanted))
    except Refused as error:
        if error.status == _HTTP_BAD_REQUEST and _OTHER_DATA in str(error):
            return False
        raise CommandError(f"{content.section}.{content.key}: {error}") from error
    return True


def _label(api: StackApi, content: Content, present: Object, wanted: str) -> None:
    spec = _spec(content, name_of(present), wanted)
    if labels_of(present) != spec["Labels"]:
        _update(api, content, api.json.one(f"/{content.section}/{identity_of(present)}"), spec)


def _update(api: StackApi, content: Content, present: Object, spec: Mapping[str, Any]) -> None:
    path = f"/{content.section}/{identity_of(present)}/update?version={version_of(present)}"
    api.send(path, spec)


def remove_unused(api: StackApi, stack: str, section: str, kept: Set[str], keys: Set[str] | None, say: Say) -> None:
    """Remove what we made of earlier contents of these keys, or of all, but for ids that are kept.

    What is in use all the same stays.
    """
    for each in api.of_stack(section, stack):
        key = labels_of(each).get(KEY)
        if identity_of(each) in kept or key is None or (keys is not None and key not in keys):
            continue
        try:
            api.remove(section, identity_of(each))
        except Refused:
            continue
        say(f"Removing {section.removesuffix('s')} {name_of(each)}")


def would_be(api: StackApi, plan: Plan, section: str) -> tuple[Found, list[str]]:
    """Return the name and id that each secret, or config, would have, and the names of those that would be made."""
    there = {name_of(each): each for each in api.json.many(f"/{section}")}
    found: Found = {}
    new = []
    for content in plan.contents[section]:
        names = (content.name, named_by_content(content.name, digest(content)))
        present = next((name for name in names if name in there and _known_same(content, there[name])), None)
        if present is None and not content.external:
            present = next(name for name in names if name not in there or name == names[-1])
            new.append(present)
        name = present or content.name
        found[content.key] = name, identity_of(there[name]) if name in there else ""
    return found, new


def _known_same(content: Content, present: Object) -> bool:
    """Return whether an object has a content, as far as can be seen: of a secret of Docker's command nobody knows."""
    labelled = labels_of(present).get(DIGEST)
    if content.external or (labelled is None and content.section == "secrets"):
        return True
    if labelled is None:
        return bool(present.get("Spec", {}).get("Data", "") == content.spec.get("Data", ""))
    return labelled == digest(content)
