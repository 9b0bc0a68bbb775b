"""The archives on 127.0.0.1: MAST, HLA and Sesame as documented, at their own https addresses.

The server is a proxy: whoever asks for `https://mast.stsci.edu` through it is answered here, with
a certificate of our own. Any other host is refused and remembered. What it has, and what goes
wrong, the test says.
"""

import io
import json
import re
import socket
import ssl
import threading
import zipfile
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import numpy as np
import trustme
from astropy.coordinates import angular_separation
from astropy.io import votable
from astropy.io.votable import tree

HOSTS = ("mast.stsci.edu", "hla.stsci.edu", "cds.unistra.fr")
MAST, HLA, SESAME = HOSTS
ETAG = '"made-for-a-test"'


@dataclass
class File:
    """An observation with one image, as MAST and HLA list it."""

    name: str
    ra: float
    dec: float
    content: bytes = b""
    side_deg: float = 0.056
    exposure_s: float = 2028.0
    collection: str = "HST"
    filters: str = "F814W"
    instrument: str = "ACS/WFC"
    mjd: float = 53000.5
    released: float = 53400.5
    version: str | None = None
    programme: str = "10092"
    uri: str = ""
    region: str | None = None
    size: int | None = None

    @property
    def obsid(self) -> str:
        return str(20000000 + sum(map(ord, self.name)) * 1000 + len(self.name))

    @property
    def data_uri(self) -> str:
        if self.uri:
            return self.uri
        if self.collection == "HLA":
            return f"mast:HLA/url/cgi-bin/getdata.cgi?dataset={self.name}"
        if self.collection == "HLSP":
            return f"mast:HLSP/{self.name.split('_')[1]}/{self.name}"
        return f"mast:HST/product/{self.name}"

    @property
    def s_region(self) -> str:
        if self.region is not None:
            return self.region
        half, wide = self.side_deg / 2, self.side_deg / 2 / np.cos(np.radians(self.dec))
        corners = [(-wide, -half), (wide, -half), (wide, half), (-wide, half)]
        points = " ".join(f"{self.ra + x:.7f} {self.dec + y:.7f}" for x, y in corners)
        return f"POLYGON ICRS {points}"


@dataclass
class Archive:
    """What the services have, what was asked of them, and what goes wrong next."""

    mast: list[File] = field(default_factory=list)
    hla: list[File] = field(default_factory=list)
    names: dict[str, tuple[float, float]] = field(default_factory=dict)
    # The content behind plain addresses, by path.
    files: dict[str, bytes] = field(default_factory=dict)
    # By a part of the address: what the next requests meet instead of an answer, one by one. A
    # fault is called with the handler and the address, and gives true if it has answered.
    faults: dict[str, list] = field(default_factory=lambda: defaultdict(list))
    ranges: bool = True
    lengths: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, dict]] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    # What Hapcut gives for a position: names of files and their FITS.
    hapcut: object = None
    fitscut: object = None
    connections: set = field(default_factory=set)
    released: threading.Event = field(default_factory=threading.Event)
    at_once: int = 0
    most_at_once: int = 0
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def requests(self, part: str) -> list[tuple[str, str, dict]]:
        return [request for request in self.asked if part in request[1]]


@contextmanager
def archive_on_loopback(monkeypatch, folder):
    """Serve until the block ends; the environment sends all https there."""
    authority = trustme.CA()
    bundle = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*HOSTS).configure_cert(context)
    archive = Archive()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(archive, context))
    server.daemon_threads = False
    server.handle_error = lambda *_: None  # a client that goes away is what we test
    archive.port = server.server_address[1]
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, archive.address)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
    for name in ("ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "AWS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(bundle))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield archive
    finally:
        archive.released.set()
        server.shutdown()
        # Those that clients keep for another request.
        for connection in list(archive.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        server.server_close()
        thread.join()
    assert not archive.strangers, f"something asked {archive.strangers}"


# What can go wrong.


def status(code, body=b"no", **headers):
    """An answer of another status."""

    def fault(handler, address):
        handler.reply(code, "text/plain", body, headers)
        return True

    return fault


def html(handler, address):
    """A page, with a status that says all is well."""
    handler.reply(
        200, "text/html", b"<!DOCTYPE html><html><body>Down for maintenance</body></html>"
    )
    return True


def cut_after(n_bytes):
    """A connection that breaks in the midst of the answer."""

    def fault(handler, address):
        handler.break_after = n_bytes
        return False

    return fault


def stall_after(n_bytes, seconds):
    """A server that says nothing more for a while, and then goes."""

    def fault(handler, address):
        handler.break_after, handler.stall_s = n_bytes, seconds
        return False

    return fault


def redirect(where):
    """A redirect to another address."""

    def fault(handler, address):
        handler.reply(302, "text/plain", b"", {"Location": where})
        return True

    return fault


def _handler(archive, context):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        host = "127.0.0.1"
        break_after = None
        stall_s = 0.0

        def log_message(self, *arguments):
            pass

        def setup(self):
            super().setup()
            archive.connections.add(self.connection)

        def finish(self):
            archive.connections.discard(self.connection)
            for stream in (self.wfile, self.rfile, self.connection):
                with suppress(OSError):
                    stream.close()

        def do_CONNECT(self):
            self.host = self.path.rsplit(":", 1)[0]
            if self.host not in HOSTS:
                archive.strangers.append(self.path)
                self.send_error(403)
                return
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            archive.connections.discard(self.connection)
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile.close()
            archive.connections.add(self.connection)
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb")
            self.close_connection = False

        def do_GET(self):
            self._answer({})

        do_HEAD = do_GET

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer({"body": body.decode()})

        def _answer(self, said):
            with archive.lock:
                archive.asked.append((self.command, self.host + self.path, dict(self.headers)))
                archive.at_once += 1
                archive.most_at_once = max(archive.most_at_once, archive.at_once)
                faults = [
                    waiting.pop(0)
                    for part, waiting in archive.faults.items()
                    if part in self.path and waiting
                ]
            self.break_after, self.stall_s = None, 0.0
            try:
                if not any(fault(self, self.path) for fault in faults):
                    self._route(urlsplit(self.path), said.get("body", ""))
            finally:
                with archive.lock:
                    archive.at_once -= 1

        def _route(self, url, body):
            if url.netloc and url.hostname not in ("127.0.0.1", "localhost"):
                # Through a proxy without encryption: nothing of ours is there.
                archive.strangers.append(self.path)
                self.reply(403, "text/plain", b"")
                return
            query = {key.lower(): value for key, value in parse_qsl(url.query)}
            ways = {
                (MAST, "/portal/Mashup/Mashup.asmx/columnsconfig"): lambda: self._columns(),
                (MAST, "/api/v0/invoke"): lambda: self._invoke(body),
                (MAST, "/api/v0.1/Download/file"): lambda: self._file(_of_uri(archive, query)),
                (MAST, "/api/v0.1/path_lookup/"): lambda: self._paths(parse_qs(url.query)["uri"]),
                (MAST, "/hapcut/api/v0.1/astrocut"): lambda: self._hapcut(json.loads(body)),
                (HLA, "/cgi-bin/hlaSIAP.cgi"): lambda: self._siap(query),
                (HLA, "/cgi-bin/getdata.cgi"): lambda: self._file(_of_hla(archive, query)),
                (HLA, "/cgi-bin/fitscut.cgi"): lambda: self._fitscut(query),
                (SESAME, "/cgi-bin/nph-sesame/SNV"): lambda: self._sesame(unquote(url.query)),
                ("127.0.0.1", "/cgi-bin/hlaSIAP.cgi"): lambda: self._siap(query),
                ("127.0.0.1", "/sesame/SNV"): lambda: self._sesame(unquote(url.query)),
            }
            found = ways.get((self.host, url.path))
            if found is not None:
                found()
            else:
                self._file(archive.files.get(url.path))

        def _columns(self):
            kinds = {"t_exptime": "double", "calib_level": "int"}
            names = ("obs_collection", "dataproduct_type", "filters", "instrument_name",
                     "calib_level", "t_exptime", "project", "provenance_name")  # fmt: skip
            columns = {name: {"text": name, "vot.datatype": kinds.get(name, "char"),
                              "separator": ";"} for name in names}  # fmt: skip
            self.reply(200, "application/json", json.dumps(columns).encode())

        def _invoke(self, body):
            assert body.startswith("request=")
            request = json.loads(unquote(body[len("request=") :]))
            answer = {"Mast.Caom.Filtered.Position": _observations,
                      "Mast.Caom.Products": _products}[request["service"]]  # fmt: skip
            fields, rows = answer(archive.mast, request["params"])
            paging = {"page": 1, "pageSize": 50000, "pagesFiltered": 1, "rows": len(rows),
                      "rowsFiltered": len(rows), "rowsTotal": len(rows)}  # fmt: skip
            columns = [{"name": name, "type": kind} for name, kind in fields.items()]
            said = {"status": "COMPLETE", "msg": "", "data": rows, "paging": paging,
                    "fields": columns}  # fmt: skip
            self.reply(200, "application/json", json.dumps(said).encode())

        def _paths(self, uris):
            paths = {uri: {"path": f"/hst/public/{uri.rsplit('/', 1)[-1]}"} for uri in uris}
            self.reply(200, "application/json", json.dumps(paths).encode())

        def _siap(self, query):
            self.reply(200, "text/xml", _votable(archive.hla, query))

        def _sesame(self, name):
            found = archive.names.get(name)
            lines = [f"# {name}", "#=S=Simbad"]
            if found:
                lines += [f"%J {found[0]:.8f} {found[1]:+.8f} = 00:00:00.0 +00:00:00.0"]
            else:
                lines += ["#!SIMBAD: No known catalog could be found"]
            self.reply(200, "text/plain", "\n".join(lines).encode() + b"\n")

        def _hapcut(self, said):
            found = archive.hapcut(said) if archive.hapcut else {}
            if not found:
                message = {"msg": "No products found.", "results": []}
                self.reply(200, "application/json", json.dumps(message).encode())
                return
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as files:
                for name, content in found.items():
                    files.writestr(name, content)
            self.reply(200, "application/zip", packed.getvalue())

        def _fitscut(self, query):
            content = archive.fitscut(query) if archive.fitscut else None
            if content is None:
                self.reply(404, "text/html", b"<html><body>Error: no such image</body></html>")
            else:
                self.reply(200, "image/fits", content)

        def _file(self, content):
            if content is None:
                self.reply(404, "text/html", b"<html>not found</html>")
                return
            said = {"Accept-Ranges": "bytes", "ETag": ETAG, **archive.headers}
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if asked and archive.ranges and self.headers.get("If-Range", ETAG) == ETAG:
                start, end = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
                if start >= len(content):
                    self.reply(416, "text/plain", b"", {"Content-Range": f"bytes */{len(content)}"})
                    return
                said["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
                self.reply(206, "image/fits", content[start : end + 1], said)
                return
            self.reply(200, "image/fits", content, said)

        def reply(self, code, kind, body, headers=None):
            said = {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}
            if not archive.lengths:
                # The end of the answer is the end of the connection.
                del said["Content-Length"]
                said["Connection"] = "close"
            self.send_response(code)
            for name, value in said.items():
                self.send_header(name.replace("_", "-"), str(value))
            self.end_headers()
            if self.command == "HEAD":
                return
            if self.break_after is None:
                self.wfile.write(body)
                self.wfile.flush()
                return
            self.wfile.write(body[: self.break_after])
            self.wfile.flush()
            archive.released.wait(self.stall_s)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    return Handler


def _of_uri(archive, query):
    listed = {file.data_uri: file for file in archive.mast}
    # The query of an HLA address is part of the URI, and not of ours.
    uri = query["uri"] if "dataset" not in query else f"{query['uri']}?dataset={query['dataset']}"
    return listed[uri].content if uri in listed else None


def _of_hla(archive, query):
    listed = {file.name: file for file in archive.hla}
    return listed[query["dataset"]].content if query["dataset"] in listed else None


def _matches(value, wanted):
    if "freeText" in wanted:
        pattern = re.escape(wanted["freeText"]).replace("%", ".*")
        return re.fullmatch(pattern, value, re.IGNORECASE) is not None
    return value.lower() in [str(one).lower() for one in wanted["values"]]


def _observations(files, params):
    """Mast.Caom.Filtered.Position: observations whose centre, or edge, lies in the circle."""
    ra, dec, radius = (float(number) for number in params["position"].split(","))
    fields = {"dataproduct_type": "string", "calib_level": "int", "obs_collection": "string",
              "obs_id": "string", "target_name": "string", "s_ra": "float", "s_dec": "float",
              "t_max": "float", "t_exptime": "float", "filters": "string",
              "t_obs_release": "float", "instrument_name": "string", "proposal_id": "string",
              "project": "string", "s_region": "string", "dataURL": "string",
              "obsid": "string"}  # fmt: skip
    rows = []
    for file in files:
        row = {
            "dataproduct_type": "image", "calib_level": 3, "obs_collection": file.collection,
            "obs_id": file.name.rsplit("_", 1)[0], "target_name": "ANY", "s_ra": file.ra,
            "s_dec": file.dec, "t_max": file.mjd, "t_exptime": file.exposure_s,
            "filters": file.filters, "t_obs_release": file.released,
            "instrument_name": file.instrument, "proposal_id": file.programme,
            "project": "HAP", "s_region": file.s_region, "dataURL": file.data_uri,
            "obsid": file.obsid,
        }  # fmt: skip
        away = np.degrees(angular_separation(*np.radians([ra, dec, file.ra, file.dec])))
        wanted = all(_matches(str(row[one["paramName"]]), one) for one in params["filters"])
        if wanted and away <= radius + file.side_deg * 0.71:
            rows.append(row)
    return fields, rows


def _products(files, params):
    """Mast.Caom.Products: of every observation its image, a picture and an exposure."""
    fields = {"obsID": "string", "obs_collection": "string", "dataproduct_type": "string",
              "obs_id": "string", "description": "string", "type": "string", "dataURI": "string",
              "productType": "string", "productSubGroupDescription": "string",
              "project": "string", "prvversion": "string", "productFilename": "string",
              "size": "int"}  # fmt: skip
    rows = []
    for file in files:
        if file.obsid not in params["obsid"].split(","):
            continue
        stem = file.name.rsplit("_", 1)[0]
        common = {
            "obsID": file.obsid, "obs_collection": file.collection, "dataproduct_type": "image",
            "obs_id": stem, "description": "", "type": "S", "project": "HAP",
            "prvversion": file.version,
        }  # fmt: skip
        size = len(file.content) if file.size is None else file.size
        for name, kind, uri, length in (
            (file.name, "SCIENCE", file.data_uri, size),
            (f"{stem}_thumb.jpg", "PREVIEW", f"mast:HST/product/{stem}.jpg", 1000),
            ("j8pu0y010_drc.fits", "SCIENCE", "mast:HST/product/j8pu0y010_drc.fits", 1000),
        ):
            rows.append({**common, "productFilename": name, "productType": kind, "dataURI": uri,
                         "size": length, "productSubGroupDescription": "DRC"})  # fmt: skip
    return fields, rows


def _votable(files, query):
    """HLA's answer: images of the asked instrument and filter whose footprint meets the square."""
    ra, dec = (float(number) for number in query["pos"].split(","))
    size = float(query["size"].split(",")[0])
    rows = [
        file
        for file in files
        if abs(file.dec - dec) <= (size + file.side_deg) / 2
        and abs(file.ra - ra) * np.cos(np.radians(dec)) <= (size + file.side_deg) / 2
        and file.filters.lower() in query.get("spectral_elt", file.filters).lower().split(",")
        and file.instrument.split("/")[0] in query["inst"].split(",")
    ]
    return siap_votable(rows)


def siap_votable(files, status_value="OK", message=""):
    """A VOTable with the columns that HLA's users read."""
    document = votable.tree.VOTableFile()
    resource = tree.Resource(type="results")
    document.resources.append(resource)
    info = tree.Info(name="QUERY_STATUS", value=status_value)
    info.content = message or None
    resource.infos.append(info)
    table = tree.TableElement(document)
    resource.tables.append(table)
    columns = {
        "Title": ("VOX:Image_Title", "char"), "RA": ("POS_EQ_RA_MAIN", "double"),
        "DEC": ("POS_EQ_DEC_MAIN", "double"), "Format": ("VOX:Image_Format", "char"),
        "URL": ("VOX:Image_AccessReference", "char"), "Mode": ("VOX:Image_Mode", "char"),
        "Dataset": (None, "char"), "filename": (None, "char"), "Detector": (None, "char"),
        "Aperture": (None, "char"), "Spectral_Elt": (None, "char"), "ExpTime": (None, "double"),
        "PropID": (None, "char"), "PI_Name": (None, "char"), "Target": (None, "char"),
        "Level": (None, "int"), "regionSTCS": ("phys.area;obs.field", "char"),
        "MJD": ("VOX:Image_MJDateObs", "double"),
        "FileSize": ("VOX:Image_FileSize", "long"),
    }  # fmt: skip
    for name, (ucd, kind) in columns.items():
        size = "*" if kind == "char" else None
        table.fields.append(
            tree.Field(document, name=name, ID=name, datatype=kind, arraysize=size, ucd=ucd)
        )
    table.create_arrays(len(files))
    for row, file in enumerate(files):
        dataset = file.name.removesuffix(".fits").removesuffix("_drz")
        address = f"/cgi-bin/getdata.cgi?config=ops&amp;dataset={file.name}"
        table.array[row] = (
            file.name, file.ra, file.dec, "image/fits", address, "IMAGE", dataset.upper(),
            file.name.removesuffix(".fits"), file.instrument, "WFC", file.filters,
            file.exposure_s, file.programme, "A. N. Other", "ANY", 2,
            file.s_region.replace("POLYGON ICRS", "Polygon J2000"), file.mjd, len(file.content),
        )  # fmt: skip
    sent = io.BytesIO()
    document.to_xml(sent)
    return sent.getvalue()
