"""The local parts: a bucket (OpenStack Swift with s3api) and a warehouse (redshift-sandbox in front
of a private PostgreSQL), both on loopback and in one folder.

up starts what is not running and waits for facts (a port answers, a file appears), down stops
exactly what up started, env prints how to reach it. Everything lives in DIR: configuration, data,
log/, secret/ (mode 600) and one NAME.pid per process. A pid file has two lines, the process id and
its start time from /proc, so that a reused process id is never taken for ours.
"""

import argparse
import fcntl
import getpass
import http.client
import json
import os
import pwd
import random
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True  # nothing of ours is left in the working tree
PG_BIN = "/usr/lib/postgresql/15/bin"

BUCKET = "sandbox-bucket"
REGION = "us-east-1"
S3_KEY = "AKIALOCALSANDBOX0001"
# Roles that the warehouse has for COPY: the default one, one by name, and a chain of two.
ROLE = "arn:aws:iam::123456789012:role/sandbox-loader"
ROLES = ("default", ROLE, ROLE + ",arn:aws:iam::210987654321:role/sandbox-bucket")
LOGIN = "loader"
DATABASE = "dev"

# In the order of starting; down goes the other way round.
SWIFT_SERVERS = ("account", "container", "object", "proxy")
PARTS = ("postgres", "memcached") + tuple("swift-" + kind for kind in SWIFT_SERVERS) + ("redshift",)

START_SECONDS = 60
STOP_SECONDS = 15
POLL_SECONDS = 0.05


class Trouble(Exception):
    """A sentence for the person at the terminal."""


# ---------------------------------------------------------------- processes


def start_time(pid):
    """Field 22 of /proc/PID/stat, or None when there is no such process (a zombie is none)."""
    try:
        with open("/proc/%d/stat" % pid) as stat:
            # The second field, the name, may hold spaces and brackets.
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


class Part:
    """One process that outlives this program, known by its pid file."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.pid_file = os.path.join(folder, name + ".pid")
        self.log = os.path.join(folder, "log", name + ".log")

    def recorded(self):
        """(process id, start time) as written at the start, or (None, None)."""
        try:
            with open(self.pid_file) as file:
                pid, started = file.read().split()
        except (OSError, ValueError):
            return None, None
        return int(pid), started

    def pid(self):
        """The process id if the process we started still runs."""
        pid, started = self.recorded()
        return pid if pid and start_time(pid) == started else None

    def orphans(self):
        """Workers whose leader is gone: of its session, and with our folder in their command."""
        leader, _ = self.recorded()
        found = []
        for name in os.listdir("/proc") if leader else ():
            if name.isdigit() and start_time(int(name)) is not None:
                try:
                    with open("/proc/%s/cmdline" % name, "rb") as command:
                        ours = (self.folder + "/").encode() in command.read()
                    if ours and os.getsid(int(name)) == leader:
                        found.append(int(name))
                except OSError:
                    pass  # it ended meanwhile
        return found

    def start(self, command, user=None, environment=None):
        self.stop()
        options = {}
        if user:
            entry = pwd.getpwnam(user)
            options = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                env=environment, start_new_session=True, **options)
        with open(self.pid_file + ".new", "w") as file:
            file.write("%d\n%s\n" % (process.pid, start_time(process.pid) or "0"))
        os.rename(self.pid_file + ".new", self.pid_file)

    def wait(self, fact):
        """Waits until fact() is true; a process that ends before is an error with its last lines."""
        deadline = time.monotonic() + START_SECONDS
        while not fact():
            if self.pid() is None:
                raise Trouble("%s ended while starting; its log says:\n%s" % (self.name, self.tail()))
            if time.monotonic() > deadline:
                raise Trouble("%s did not answer within %d seconds; its log says:\n%s"
                              % (self.name, START_SECONDS, self.tail()))
            time.sleep(POLL_SECONDS)

    def stop(self):
        pid = self.pid()
        if pid is not None:
            # SIGINT is PostgreSQL's fast shutdown: it does not wait for sessions to leave.
            os.kill(pid, signal.SIGINT if self.name == "postgres" else signal.SIGTERM)
            deadline = time.monotonic() + STOP_SECONDS
            while self.pid() is not None and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            if self.pid() is not None:
                # Each part leads its own session, so the group holds its workers and nobody else.
                os.killpg(pid, signal.SIGKILL)
        while self.pid() is not None or self.orphans():
            for orphan in self.orphans():
                try:
                    os.kill(orphan, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(POLL_SECONDS)
        if os.path.exists(self.pid_file):
            os.unlink(self.pid_file)
        return pid is not None

    def tail(self):
        try:
            with open(self.log, errors="replace") as log:
                return "".join("    " + line for line in log.readlines()[-15:])
        except OSError:
            return "    (no log)"


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    except OSError:
        return False


# ---------------------------------------------------------------- the folder


def write(path, text, mode=0o600):
    with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


def secret(folder, name):
    """The secret kept in secret/NAME, made at the first use."""
    path = os.path.join(folder, "secret", name)
    if not os.path.exists(path):
        # The warehouse demands an upper case letter, a lower case letter and a digit.
        write(path, "Aa1" + secrets.token_urlsafe(24).replace("-", "x").replace("_", "y") + "\n")
    with open(path) as file:
        return file.read().strip()


def free_ports(folder, names):
    """A port for each name: the one of the last start if it is free, so that addresses stay. New
    ones are taken below the kernel's range for outgoing connections, which would else race."""
    path = os.path.join(folder, "ports.json")
    kept = {}
    if os.path.exists(path):
        with open(path) as file:
            kept = json.load(file)
    chosen = {}
    for name in names:
        candidate = kept.get(name)
        for _ in range(1000):
            if candidate and candidate not in chosen.values():
                probe = socket.socket()
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", candidate))
                    break
                except OSError:
                    pass
                finally:
                    probe.close()
            candidate = random.randint(20000, 32000)
        else:
            raise Trouble("no free port found between 20000 and 32000 on 127.0.0.1")
        chosen[name] = candidate
    write(path, json.dumps(chosen) + "\n")
    return chosen


def check_tools():
    if start_time(os.getpid()) is None:
        raise Trouble("/proc is not mounted; the parts are known by what it says about processes")
    for path in (PG_BIN + "/postgres", "/usr/bin/memcached",
                 "/usr/bin/swift-proxy-server", "/usr/bin/swift-object-server"):
        if not os.path.exists(path):
            raise Trouble("%s is missing; run deploy/install local" % path)


def check_xattr(folder):
    """Swift keeps an object's metadata in user extended attributes of its file."""
    probe = os.path.join(folder, ".xattr-probe")
    with open(probe, "w"):
        pass
    try:
        os.setxattr(probe, "user.swift.probe", b"1")
    except OSError as error:
        raise Trouble("the file system of %s has no user extended attributes (%s), which Swift's object "
                      "server needs; choose another folder with --dir" % (folder, error.strerror))
    finally:
        os.unlink(probe)


# ---------------------------------------------------------------- the bucket

# The backends wait long: a late container update would be put aside for a daemon that does not run
# here, and a listing would then miss the object.
BACKEND = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = {workers}
user = {user}
swift_dir = {swift}
devices = {swift}/disk
mount_check = false
fallocate_reserve = 0
log_level = WARNING
log_requests = false
conn_timeout = 30
node_timeout = 60
container_update_timeout = 60
disk_chunk_size = 1048576
network_chunk_size = 1048576

[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
replication_concurrency = 0
log_requests = false
keep_cache_size = 1073741824
keep_cache_private = true
"""

PROXY = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = {workers}
user = {user}
swift_dir = {swift}
log_level = INFO
client_timeout = 300

[pipeline:main]
pipeline = catch_errors healthcheck proxy-logging cache bulk s3api tempauth copy slo dlo proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = false
conn_timeout = 30
node_timeout = 60
recoverable_node_timeout = 60
error_suppression_limit = 1000000
client_chunk_size = 1048576
object_chunk_size = 1048576

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:healthcheck]
use = egg:swift#healthcheck

[filter:proxy-logging]
use = egg:swift#proxy_logging

[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
memcache_max_connections = 16

[filter:bulk]
use = egg:swift#bulk
delete_concurrency = 8

[filter:s3api]
use = egg:swift#s3api
location = {region}
max_upload_part_num = 10000
multi_delete_concurrency = 8

[filter:tempauth]
paste.filter_factory = swift_auth:filter_factory
user_sandbox_loader = {secret} .admin
access_key_sandbox_loader = {key}

[filter:copy]
use = egg:swift#copy

[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
max_manifest_size = 16777216
concurrency = 8
delete_concurrency = 8

[filter:dlo]
use = egg:swift#dlo
"""


def make_rings(swift, ports):
    from swift.common.ring import RingBuilder

    for kind in ("account", "container", "object"):
        builder = RingBuilder(4, 1, 1)
        builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": ports["swift-" + kind],
                         "device": "d1", "weight": 1.0})
        builder.rebalance(seed="1")
        builder.get_ring().save(os.path.join(swift, kind + ".ring.gz"))


def configure_bucket(folder, ports):
    swift = os.path.join(folder, "swift")
    os.makedirs(os.path.join(swift, "disk", "d1"), exist_ok=True)
    check_xattr(os.path.join(swift, "disk"))
    # Only its being there matters: it would hide one cluster's paths from another's.
    write(os.path.join(swift, "swift.conf"), "[swift-hash]\nswift_hash_path_suffix = sandbox\n")
    make_rings(swift, ports)
    user = getpass.getuser() if os.geteuid() else "root"
    workers = max(2, min(4, os.cpu_count() or 2))
    for kind in ("account", "container", "object"):
        write(os.path.join(swift, kind + "-server.conf"), BACKEND.format(
            kind=kind, port=ports["swift-" + kind], user=user, swift=swift,
            workers=workers if kind == "object" else 0))
    write(os.path.join(swift, "proxy-server.conf"), PROXY.format(
        port=ports["swift-proxy"], user=user, swift=swift, workers=workers,
        memcached=ports["memcached"], region=REGION, key=S3_KEY,
        secret=secret(folder, "s3-secret")))
    return swift


def start_bucket(folder, ports):
    swift = configure_bucket(folder, ports)
    memcached = Part(folder, "memcached")
    if memcached.pid() is None:
        command = ["/usr/bin/memcached", "-l", "127.0.0.1", "-p", str(ports["memcached"]), "-U", "0",
                   "-m", "32"]
        memcached.start(command + (["-u", "root"] if os.geteuid() == 0 else []))
    for kind in SWIFT_SERVERS:
        part = Part(folder, "swift-" + kind)
        if part.pid() is None:
            part.start(["/usr/bin/python3", "-I", os.path.join(HERE, "swift_server.py"), kind, swift])


def proxy_healthy(port):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/healthcheck")
        return connection.getresponse().status == 200
    except OSError:
        return False


def finish_bucket(folder, ports):
    for name in ("memcached",) + tuple("swift-" + kind for kind in SWIFT_SERVERS[:-1]):
        Part(folder, name).wait(lambda: answers(ports[name]))
    proxy = Part(folder, "swift-proxy")
    proxy.wait(lambda: proxy_healthy(ports["swift-proxy"]))
    sys.path.insert(0, HERE)
    import s3

    client = s3.Client(endpoint(ports), REGION, S3_KEY, secret(folder, "s3-secret"))
    status, _, body = client.call("PUT", "/" + BUCKET)
    if status != 200 and b"BucketAlreadyOwnedByYou" not in body:
        raise Trouble("making the bucket failed with status %d: %s" % (status, body.decode()))


def endpoint(ports):
    return "http://127.0.0.1:%d" % ports["swift-proxy"]


# ---------------------------------------------------------------- the warehouse

# A sandbox: nothing survives a crash of the machine, and nobody replicates from it.
POSTGRES = """listen_addresses = ''
unix_socket_directories = '{socket}'
unix_socket_permissions = 0700
port = {port}
max_connections = 200
shared_buffers = 256MB
work_mem = 32MB
maintenance_work_mem = 128MB
dynamic_shared_memory_type = mmap
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_wal_size = 4GB
checkpoint_timeout = 30min
autovacuum_naptime = 20s
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_min_messages = warning
logging_collector = off
"""


def server_user():
    """PostgreSQL refuses to run as root; Debian's package brings this user."""
    return "postgres" if os.geteuid() == 0 else None


def run_as_server(command):
    options = {}
    if server_user():
        entry = pwd.getpwnam(server_user())
        options = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, cwd="/", text=True, **options)


def warehouse_home(folder):
    """Where the cluster lives: DIR/pg, unless the server's user cannot get there (a checkout in
    root's home) or a socket's name would be too long (107 bytes); then a folder of its own under
    /var/tmp, to which DIR/pg points."""
    home = os.path.join(folder, "pg")
    if os.path.exists(home):
        return os.path.realpath(home)
    reachable = run_as_server(["test", "-x", folder]).returncode == 0
    if reachable and len(os.path.join(home, "socket", ".s.PGSQL.65535")) <= 107:
        os.mkdir(home, 0o700)
    else:
        place = tempfile.mkdtemp(prefix="redshift-local-", dir="/var/tmp")
        os.symlink(place, home)
        home = place
    if server_user():
        entry = pwd.getpwnam(server_user())
        os.chown(home, entry.pw_uid, entry.pw_gid)
    return home


def start_postgres(folder, ports):
    part = Part(folder, "postgres")
    if part.pid() is not None:
        return
    home = warehouse_home(folder)
    data, sockets = os.path.join(home, "data"), os.path.join(home, "socket")
    if not os.path.exists(os.path.join(data, "PG_VERSION")):
        done = run_as_server(
            [PG_BIN + "/initdb", "--pgdata", data, "--username", "postgres", "--auth", "trust",
             "--no-sync", "--encoding", "UTF8", "--lc-collate", "C", "--lc-ctype", "C.UTF-8",
             "--no-locale"])
        if done.returncode != 0:
            raise Trouble("initdb failed:\n" + done.stdout)
    run_as_server(["mkdir", "-p", "-m", "700", sockets])
    configuration = os.path.join(data, "sandbox.conf")
    write(configuration, POSTGRES.format(socket=sockets, port=ports["postgres"]), 0o644)
    if server_user():
        os.chown(configuration, pwd.getpwnam(server_user()).pw_uid, -1)
    # A start after kill -9 of the whole machine finds an old postmaster.pid; PostgreSQL checks it.
    part.start([PG_BIN + "/postgres", "-D", data, "-c", "config_file=" + configuration,
                "-c", "hba_file=" + data + "/pg_hba.conf"], user=server_user())


def psql(folder, ports, statement):
    sockets = os.path.join(warehouse_home(folder), "socket")
    return run_as_server([PG_BIN + "/psql", "-X", "-q", "-A", "-t", "-h", sockets, "-p",
                          str(ports["postgres"]), "-U", "postgres", "-d", "postgres", "-c", statement])


def finish_postgres(folder, ports):
    Part(folder, "postgres").wait(lambda: psql(folder, ports, "SELECT 1").returncode == 0)
    exists = psql(folder, ports, "SELECT 1 FROM pg_database WHERE datname = '%s'" % DATABASE)
    if exists.stdout.strip() != "1":
        made = psql(folder, ports, "CREATE DATABASE %s" % DATABASE)
        if made.returncode != 0:
            raise Trouble("making the database failed: " + made.stdout)


def start_redshift(folder, ports, build):
    """The gateway that makes PostgreSQL look like Redshift, when it has been built."""
    part = Part(folder, "redshift")
    if part.pid() is not None:
        return
    program = os.path.join(build, "redshift-sandbox")
    if not os.path.exists(program):
        print("redshift-sandbox is not built in %s: only the bucket and PostgreSQL run" % build)
        return
    ready = os.path.join(folder, "redshift.ready")
    if os.path.exists(ready):
        os.unlink(ready)
    secret(folder, "redshift-password")
    secret(folder, "s3-secret")
    keys = "%s:%s" % (S3_KEY, os.path.join(folder, "secret", "s3-secret"))
    environment = dict(os.environ, AWS_ENDPOINT_URL_S3=endpoint(ports))
    part.start([program, "--listen", "127.0.0.1:%d" % ports["redshift"],
                "--backend-host", os.path.join(warehouse_home(folder), "socket"),
                "--backend-port", str(ports["postgres"]), "--backend-user", "postgres",
                "--database", DATABASE, "--user", LOGIN,
                "--password-file", os.path.join(folder, "secret", "redshift-password"),
                "--ready-file", ready]
               + [word for role in ROLES for word in ("--role", role + "=" + keys)],
               environment=environment)
    part.wait(lambda: os.path.exists(ready) and answers(ports["redshift"]))


# ---------------------------------------------------------------- commands


def variables(folder):
    with open(os.path.join(folder, "ports.json")) as file:
        ports = json.load(file)
    values = {
        "AWS_ENDPOINT_URL_S3": endpoint(ports),
        "LOCAL_DIR": folder,
        "LOCAL_S3_BUCKET": BUCKET,
        "LOCAL_S3_REGION": REGION,
        "LOCAL_S3_KEY": S3_KEY,
        "LOCAL_S3_SECRET": secret(folder, "s3-secret"),
        "LOCAL_PG_HOST": os.path.join(warehouse_home(folder), "socket"),
        "LOCAL_PG_PORT": str(ports["postgres"]),
    }
    if Part(folder, "redshift").pid() is not None:
        values.update({
            "LOCAL_REDSHIFT_ADDRESS": "127.0.0.1:%d" % ports["redshift"],
            "LOCAL_REDSHIFT_USER": LOGIN,
            "LOCAL_REDSHIFT_PASSWORD": secret(folder, "redshift-password"),
            "LOCAL_REDSHIFT_DATABASE": DATABASE,
            "LOCAL_REDSHIFT_ROLE": ROLE,
            "LOCAL_REDSHIFT_ROLE_CHAIN": ROLES[2],
        })
    return values


def stop_outdated(folder, build):
    """A gateway that was built anew since its start is stopped, so that up starts the new one."""
    part = Part(folder, "redshift")
    program = os.path.join(build, "redshift-sandbox")
    if part.pid() is not None and os.path.exists(program):
        if os.readlink("/proc/%d/exe" % part.pid()) != os.path.realpath(program):
            part.stop()


def running(folder):
    return [name for name in PARTS if Part(folder, name).pid() is not None]


def up(folder, build):
    check_tools()
    for name in ("log", "secret"):
        os.makedirs(os.path.join(folder, name), exist_ok=True, mode=0o700)
    stop_outdated(folder, build)
    before = running(folder)
    wanted = [name for name in PARTS if name != "redshift"
              or os.path.exists(os.path.join(build, "redshift-sandbox"))]
    if all(name in before for name in wanted):
        print("already up in %s" % folder)
        return
    if before:
        # Half of the parts: their ports stay, so only the missing ones start.
        with open(os.path.join(folder, "ports.json")) as file:
            ports = json.load(file)
    else:
        ports = free_ports(folder, PARTS)
    begun = time.monotonic()
    try:
        start_bucket(folder, ports)
        start_postgres(folder, ports)
        finish_postgres(folder, ports)
        finish_bucket(folder, ports)
        start_redshift(folder, ports, build)
    except BaseException:
        stop_all(folder, [name for name in running(folder) if name not in before])
        raise
    print("up in %.1f s: %s (in %s)"
          % (time.monotonic() - begun, ", ".join(running(folder)), folder))


def stop_all(folder, names):
    return [name for name in reversed(PARTS) if name in names and Part(folder, name).stop()]


def down(folder, remove):
    if os.path.isdir(folder):
        stopped = stop_all(folder, PARTS)
        print("stopped " + ", ".join(stopped) if stopped else "nothing was running in %s" % folder)
        if remove:
            home = os.path.join(folder, "pg")
            if os.path.islink(home):
                shutil.rmtree(os.path.realpath(home), ignore_errors=True)
            shutil.rmtree(folder)
    else:
        print("nothing was running in %s" % folder)


def env(folder):
    missing = [name for name in PARTS if name != "redshift" and name not in running(folder)]
    if missing:
        raise Trouble("not up in %s (missing: %s); run deploy/local/up" % (folder, ", ".join(missing)))
    for name, value in variables(folder).items():
        print("export %s=%s" % (name, shlex.quote(value)))


def main():
    parser = argparse.ArgumentParser(prog="deploy/local")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("up", "start the parts"), ("down", "stop them"), ("env", "print variables")):
        command = commands.add_parser(name, description=text)
        command.add_argument("--dir", default=os.path.join(ROOT, ".local"),
                             help="the folder of the parts (default: .local in the repository)")
        if name == "up":
            command.add_argument("--build", default=os.path.join(ROOT, "build"),
                                 help="where redshift-sandbox is (default: build)")
        if name == "down":
            command.add_argument("--remove", action="store_true", help="delete the folder, too")
    arguments = parser.parse_args()
    folder = os.path.abspath(arguments.dir)
    try:
        if arguments.command == "env":
            env(folder)
            return
        if arguments.command == "up":
            os.makedirs(folder, exist_ok=True)
            os.chmod(folder, 0o711)  # the server's user passes through, and reads nothing
        elif not os.path.isdir(folder):
            down(folder, arguments.remove)
            return
        os.umask(0o077)
        with open(os.path.join(folder, "lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if arguments.command == "up":
                up(folder, os.path.abspath(arguments.build))
            else:
                down(folder, arguments.remove)
    except Trouble as trouble:
        sys.exit("deploy/local/%s: %s" % (arguments.command, trouble))


if __name__ == "__main__":
    main()
