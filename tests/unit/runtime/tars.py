"""Tars of all kinds, valid and hostile, as bytes."""

import io
import tarfile


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.mode = kind, 0o755 if kind == tarfile.DIRTYPE else 0o644
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def tar(*entries: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for one in entries:
            made, data = one if isinstance(one, tuple) else (one, b"")
            if data:
                made.size = len(data)
            archive.addfile(made, io.BytesIO(data))
    return out.getvalue()


def files(**content: bytes) -> bytes:
    return tar(*((entry(name), data) for name, data in content.items()))
