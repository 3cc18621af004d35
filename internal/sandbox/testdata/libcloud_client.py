"""What a user of Apache libcloud does with an account: libcloud_client.py SCENARIO PORT USER PASSWORD ACCOUNT.

A scenario is a function. It checks what the driver returns and, after each step, calls reached():
the test that runs this script then checks the state of the sandbox.

The driver is used as it is, with its bugs. Where one shows, a comment says so.
"""

import inspect
import json
import sys
import time

from libcloud.common.exceptions import BaseHTTPError
from libcloud.common.types import InvalidCredsError
from libcloud.compute.drivers.cloudsigma import (
    CloudSigmaException,
    CloudSigma_1_0_NodeDriver,
)
from libcloud.compute.providers import get_driver
from libcloud.compute.types import NodeState, Provider
from libcloud.utils.misc import dict2str

PORT, USER, PASSWORD, ACCOUNT = int(sys.argv[2]), *sys.argv[3:]


class Recorder:
    """A driver that records which of its methods the scenario calls."""

    def __init__(self, driver):
        self._driver = driver
        self._called = set()

    def __getattr__(self, name):
        self._called.add(name)
        return getattr(self._driver, name)


def reached(step, **state):
    """Report a step with UUIDs and other texts, and wait until the test has checked the sandbox."""
    print(json.dumps({"step": step, **state}), flush=True)
    if sys.stdin.readline() != "next\n":
        sys.exit("The test ended at step %s." % step)


def check_equal(got, want):
    if got != want:
        raise AssertionError("got %r, want %r" % (got, want))


def check_true(got):
    check_equal(got, True)  # not only a true value: the driver documents a bool


def refused(status, text, call, *args, **kwargs):
    """Check that the sandbox refuses a call with a status, and that the driver shows a text of the response."""
    try:
        call(*args, **kwargs)
    except BaseHTTPError as error:
        check_equal(error.code, status)
        if text not in error.message or "errors:" in error.message:
            raise AssertionError("got %r, want it to contain %r" % (error.message, text))
        return
    raise AssertionError("got success, want status %d" % status)


def raises(kind, call, *args, **kwargs):
    """Check that the driver refuses a call itself."""
    try:
        call(*args, **kwargs)
    except kind:
        return
    raise AssertionError("got success, want %r" % kind)


def create_drive(driver, name, **keys):
    """The driver cannot create a drive: its users send the request over its connection."""
    body = dict2str({"name": name, "size": 4096, **keys})
    try:
        body.encode("latin-1")
    except UnicodeEncodeError:
        body = body.encode()  # the driver's HTTP library takes other text only as bytes
    [drive] = driver.connection.request("/drives/create", data=body, method="POST").object
    check_equal(drive["name"], name)
    return drive["drive"]


def create_node(driver, name, size=0, **kwargs):
    return driver.create_node(name, driver.list_sizes()[size], driver.list_images()[0], **kwargs)


def drive_of(driver, node):
    """The UUID of the drive that create_node has made for a node. The driver does not return it."""
    [drive] = [d["drive"] for d in driver.ex_drives_list() if node.id in d.get("claimed", "")]
    return drive


def configure(driver, node, keys):
    return driver.ex_set_node_configuration(node, **keys)


def empty_account(driver):
    sizes = driver.list_sizes()
    check_equal([(s.id, s.cpu, s.ram, s.disk) for s in sizes][:2], [("small-1", 1, 512, 50), ("small-2", 1, 1024, 50)])
    check_equal(driver.list_nodes(), [])
    check_equal(driver.ex_drives_list(), [])
    check_equal(driver.ex_static_ip_list(), [])
    images = driver.list_images()
    for image in images:
        if not image.name or int(image.extra["size"]) <= 0:
            raise AssertionError("got image %r with %r" % (image, image.extra))
    raises(NotImplementedError, driver.list_locations)
    reached("empty", images=" ".join(image.id for image in images))


def credentials(driver):
    bad = CloudSigma_1_0_NodeDriver(USER, PASSWORD + "x", secure=False, host="127.0.0.1", port=PORT)
    for call in (bad.list_nodes, bad.list_images, bad.ex_drives_list, bad.ex_static_ip_list, bad.ex_static_ip_create):
        raises(InvalidCredsError, call)
    image, size = driver.list_images()[0], driver.list_sizes()[0]
    raises(InvalidCredsError, bad.create_node, "x", size, image)
    by_account = get_driver(Provider.CLOUDSIGMA)(
        ACCOUNT, PASSWORD, secure=False, host="127.0.0.1", port=PORT, api_version="1.0"
    )
    check_equal(type(by_account), CloudSigma_1_0_NodeDriver)
    check_equal([i.id for i in by_account.list_images()], [i.id for i in driver.list_images()])
    reached("unchanged")


def nodes(driver):
    began = time.monotonic()
    node = create_node(driver, "web", smp=2, nic_model="virtio", drive_type="ssd")
    check_true(time.monotonic() - began >= 0.5)  # it waits while the drive is imaging
    check_equal((node.name, node.state), ("web", NodeState.RUNNING))
    # The driver shows its own state as it is after start, but the rest as it was after create.
    check_equal(node.extra, {"cpu": 1, "smp": 2, "mem": 512, "status": "stopped"})
    check_equal(node.public_ips, ["auto"])
    drive = drive_of(driver, node)
    reached("created", node=node.id, drive=drive, image=driver.list_images()[0].id)

    [(running, ips)] = driver.wait_until_running([node], wait_period=0.1, timeout=30)
    check_equal((running.id, running.extra["status"], running.public_ips), (node.id, "active", ips))
    check_true(driver.ex_start_node(node))  # it runs already
    reached("running", node=node.id, drive=drive, ip=ips[0])

    check_true(driver.ex_stop_node(node))
    check_true(driver.stop_node(node))  # it is stopped already
    [stopped] = driver.list_nodes()
    check_equal((stopped.state, stopped.public_ips), (NodeState.TERMINATED, ["auto"]))
    reached("stopped", node=node.id, drive=drive)

    check_true(driver.ex_start_node(node))
    check_equal(driver.list_nodes()[0].state, NodeState.RUNNING)
    reached("running", node=node.id, drive=drive, ip=driver.list_nodes()[0].public_ips[0])
    check_true(driver.ex_shutdown_node(node))  # the driver sends stop: the node stops at once
    check_equal(driver.list_nodes()[0].state, NodeState.TERMINATED)
    reached("stopped", node=node.id, drive=drive)

    check_true(driver.reboot_node(node))  # of a node that is stopped: it starts
    before = driver.list_nodes()[0].public_ips
    check_true(driver.reboot_node(node))
    [after] = driver.list_nodes()
    check_equal(after.state, NodeState.RUNNING)
    check_true(after.public_ips != before)  # stop frees the address, start takes another
    reached("running", node=node.id, drive=drive, ip=after.public_ips[0])

    check_true(driver.destroy_node(node))  # it runs: the driver stops it first
    check_equal(driver.list_nodes(), [])
    reached("destroyed", node=node.id, drive=drive)

    for call in (driver.ex_start_node, driver.ex_stop_node, driver.ex_shutdown_node):
        refused(404, "could not be found", call, node)
    refused(404, "could not be found", configure, driver, node, {"name": "x"})
    for call in (driver.reboot_node, driver.destroy_node):
        raises(CloudSigmaException, call, node)
    refused(404, "could not be found", driver.ex_destroy_node_and_drives, node)
    check_true(driver.ex_drive_destroy(drive))
    reached("clean", drive=drive)


def configuration(driver):
    node = create_node(driver, "Grüße aus Zürich", vnc_password="geheim12")
    drive = drive_of(driver, node)
    check_equal((node.extra["vnc_ip"], node.extra["vnc_password"]), ("auto", "geheim12"))
    [running] = driver.list_nodes()
    check_equal(running.name, "Grüße aus Zürich")
    check_equal([running.extra["vnc_ip"]], running.public_ips)  # one address, which the node got at start
    reached("created", node=node.id, ip=running.public_ips[0])

    check_true(configure(driver, node, {"name": "größer", "vnc:password": "öffne"}))
    check_equal(driver.list_nodes()[0].extra["vnc_password"], "öffne")
    refused(409, "currently in use", configure, driver, node, {"cpu": 2000, "name": "not renamed"})
    raises(CloudSigmaException, driver.ex_set_node_configuration, node, color="red")  # sends nothing
    reached("renamed", node=node.id)

    check_true(driver.ex_stop_node(node))
    vlan = driver.connection.request("/resources/vlan/create", data="name back\n", method="POST").object[0]["resource"]
    ide, scsi, block = (create_drive(driver, name) for name in ("ide", "scsi", "block"))
    everything = {
        "name": "all", "cpu": 2000, "smp": "auto", "mem": 1024, "boot": "block:7",
        "nic:0:model": "rtl8139", "nic:0:dhcp": "auto",
        "nic:1:model": "virtio", "nic:1:vlan": vlan, "nic:1:mac": "02:00:5e:00:53:01",
        "vnc:ip": "auto", "vnc:password": "x", "vnc:tls": "on",
        "ide:1:1": ide, "ide:1:1:media": "cdrom", "scsi:0:7": scsi, "scsi:0:7:media": "disk",
        "block:7": block, "block:7:media": "disk",
    }
    check_true(configure(driver, node, everything))
    [changed] = driver.list_nodes()
    check_equal([changed.extra[key] for key in ("cpu", "smp", "mem")], [2000, "auto", 1024])
    check_true(driver.ex_start_node(node))
    reached("configured", node=node.id, keys=dict2str({**everything, "ide:0:0": drive}))

    check_true(driver.ex_stop_node(node))
    # None unsets a key: the driver sends the key alone in its line.
    gone = [key for key in everything if key.startswith(("vnc:", "nic:1", "ide:", "scsi:", "block:"))]
    check_true(configure(driver, node, dict.fromkeys(gone)))
    [changed] = driver.list_nodes()
    check_equal([key for key in changed.extra if key.startswith("vnc")], [])
    for keys in ({"cpu": 0}, {"mem": "much"}, {"ide:0:1": node.id}, {"nic:0:model": "ne2k"}, {"name": None}):
        refused(400, next(iter(keys)), configure, driver, node, keys)
    reached("unset", node=node.id, gone=" ".join(gone), drive=drive)


def names(driver):
    # The driver's HTTP library encodes text as Latin-1, and refuses any other.
    node = create_node(driver, "£ Ångström ß")
    check_equal([n.name for n in driver.list_nodes()], ["£ Ångström ß"])
    raises(UnicodeEncodeError, create_node, driver, "日本")
    check_true(configure(driver, node, {"name": "a  b: c/d 'e'"}))
    check_equal(driver.list_nodes()[0].name, "a  b: c/d 'e'")
    reached("latin", node=node.id)
    # A name that another client gave: the driver shows all of Unicode.
    driver.connection.request("/servers/%s/set" % node.id, data="name 日本 🙂\n".encode(), method="POST")
    check_equal([n.name for n in driver.list_nodes()], ["日本 🙂"])
    for name in ("plain", "Größe µ", "диск 日本"):
        create_drive(driver, name)
    check_equal(
        [d["name"] for d in driver.ex_drives_list()], ["£ Ångström ß", "plain", "Größe µ", "диск 日本"]
    )
    reached("unicode", node=node.id)


def oldest_node(driver):
    first, second = create_node(driver, "first"), create_node(driver, "second")
    third = create_node(driver, "third")
    drives = [drive_of(driver, node) for node in (first, second, third)]
    # The driver's _get_node compares each node's UUID with itself. So reboot_node and destroy_node act
    # on the oldest node of the account, whichever they get.
    before = [node.public_ips for node in driver.list_nodes()]
    check_true(driver.reboot_node(third))
    after = [node.public_ips for node in driver.list_nodes()]
    check_true(before[0] != after[0])
    check_equal(before[1:], after[1:])
    check_true(driver.destroy_node(second))
    check_equal([node.id for node in driver.list_nodes()], [second.id, third.id])
    reached("first destroyed", node=first.id, drive=drives[0], left=second.id, held=drives[1])

    # It destroys the second node, and then the drives of the third, which still runs with them.
    refused(400, "currently in use", driver.ex_destroy_node_and_drives, third)
    check_equal([node.id for node in driver.list_nodes()], [third.id])
    reached("second destroyed", node=second.id, drive=drives[1], left=third.id, held=drives[2])

    # The other calls act on the node that they get; it is the only one now, and so the oldest.
    check_true(driver.ex_destroy_node_and_drives(third))
    for drive in drives[:2]:
        check_true(driver.ex_drive_destroy(drive))
    check_equal(driver.ex_drives_list(), [])
    reached("clean", drive=drives[2])


def drives(driver):
    node = create_node(driver, "own")
    own = drive_of(driver, node)
    shared = create_drive(driver, "shared", **{"claim:type": "shared"})
    data, loose = create_drive(driver, "data", readers=ACCOUNT), create_drive(driver, "loose")
    listed = {d["drive"]: (d["name"], d["size"], d["status"]) for d in driver.ex_drives_list()}
    check_equal(list(listed), [own, shared, data, loose])
    check_equal(listed[own], ("own", str(50 << 30), "active"))
    check_equal(listed[loose], ("loose", "4096", "active"))
    check_true(driver.ex_stop_node(node))
    check_true(configure(driver, node, {"block:0": data, "scsi:0:0": shared, "ide:0:1:media": "cdrom"}))
    check_true(driver.ex_start_node(node))
    for drive in (own, shared, data):
        refused(400, "currently in use", driver.ex_drive_destroy, drive)
        refused(400, "currently in use", driver.ex_destroy_drive, drive)
    check_true(driver.ex_destroy_drive(loose))
    refused(404, "could not be found", driver.ex_destroy_drive, loose)
    refused(404, "could not be found", driver.ex_drive_destroy, loose)
    reached("held", node=node.id, own=own, shared=shared, data=data, loose=loose)

    check_true(driver.ex_destroy_node_and_drives(node))
    check_equal((driver.list_nodes(), driver.ex_drives_list()), ([], []))
    reached("destroyed", node=node.id, drives=" ".join((own, shared, data)))

    node = create_node(driver, "installer")
    own, cd = drive_of(driver, node), driver.connection.request("/drives/standard/cd/list").body.split()[0]
    check_true(driver.ex_stop_node(node))
    check_true(configure(driver, node, {"ide:1:0": cd, "ide:1:0:media": "cdrom", "boot": "ide:1:0 ide:0:0"}))
    check_true(driver.ex_start_node(node))
    # The driver destroys the node and its own drive, and then tries a drive of the library.
    refused(404, "could not be found", driver.ex_destroy_node_and_drives, node)
    check_equal((driver.list_nodes(), driver.ex_drives_list()), ([], []))
    reached("library stays", node=node.id, own=own, cd=cd)


def failed_creation(driver):
    raises(CloudSigmaException, create_node, driver, "x", nic_model="ne2k")
    raises(CloudSigmaException, create_node, driver, "x", drive_type="tape")
    image, size = driver.list_images()[0], driver.list_sizes()[0]
    image.id = ACCOUNT  # no drive has this UUID
    refused(400, "could not be found", driver.create_node, "x", size, image)
    size.disk = 0
    refused(400, "size", driver.create_node, "x", size, driver.list_images()[0])
    reached("nothing")
    # The driver makes the drive first. When the node is refused, it leaves the drive to the user.
    refused(400, "vnc:password", create_node, driver, "no", vnc_password="far too long")
    [left] = driver.ex_drives_list()
    check_equal(left["name"], "no")
    reached("drive left", drive=left["drive"])
    check_true(driver.ex_destroy_drive(left["drive"]))
    reached("nothing")


def quota(driver):
    """The account may use 768 MB and 120 GiB, beyond its subscriptions: there are none."""
    refused(400, "mem", create_node, driver, "too large", size=1)
    check_equal(driver.list_nodes(), [])
    [left] = driver.ex_drives_list()
    check_true(driver.ex_drive_destroy(left["drive"]))
    first = create_node(driver, "first")
    # It is refused at start, so the driver leaves a node that is stopped.
    refused(400, "mem", create_node, driver, "second")
    second = driver.list_nodes()[1]
    check_equal((second.name, second.state), ("second", NodeState.TERMINATED))
    refused(400, "size", create_node, driver, "third")  # no more disk: nothing is left
    check_equal([d["name"] for d in driver.ex_drives_list()], ["first", "second"])
    reached("used up", running=first.id, stopped=second.id)

    refused(400, "mem", driver.ex_start_node, second)
    check_true(driver.ex_stop_node(first))
    check_true(driver.ex_start_node(second))
    reached("used up", running=second.id, stopped=first.id)


def addresses(driver):
    [created] = driver.ex_static_ip_create()
    ip = created["resource"]
    check_equal((created["type"], created["user"]), ("ip", ACCOUNT))
    [second] = driver.ex_static_ip_create()
    check_equal(driver.ex_static_ip_list(), [ip, second["resource"]])
    reached("created", ips="%s %s" % (ip, second["resource"]))

    node = create_node(driver, "www")
    check_true(driver.ex_stop_node(node))
    check_true(configure(driver, node, {"nic:0:dhcp": ip}))
    check_true(driver.ex_start_node(node))
    [running] = driver.list_nodes()
    check_equal(running.public_ips, [ip])
    refused(409, "currently in use", driver.ex_static_ip_destroy, ip)
    check_equal(driver.ex_static_ip_list(), [ip, second["resource"]])
    reached("used", node=node.id, ip=ip)

    check_true(driver.ex_stop_node(node))
    check_true(configure(driver, node, {"nic:0:dhcp": "auto"}))
    check_true(driver.ex_static_ip_destroy(ip))
    check_equal(driver.ex_static_ip_list(), [second["resource"]])
    refused(404, "could not be found", driver.ex_static_ip_destroy, ip)
    check_true(driver.ex_start_node(node))
    reached("destroyed", node=node.id, ip=ip, left=second["resource"])

    check_true(driver.ex_static_ip_destroy(second["resource"]))
    check_equal(driver.ex_static_ip_list(), [])
    reached("none")


def main():
    scenario = globals()[sys.argv[1]]
    driver = Recorder(CloudSigma_1_0_NodeDriver(USER, PASSWORD, secure=False, host="127.0.0.1", port=PORT))
    scenario(driver)
    public = [name for name in vars(CloudSigma_1_0_NodeDriver) if not name.startswith("_")]
    methods = [name for name in public if inspect.isfunction(getattr(CloudSigma_1_0_NodeDriver, name))]
    reached("end", methods=" ".join(methods), called=" ".join(driver._called))


main()
