"""Runs one Swift server of a private folder: swift_server.py KIND FOLDER

KIND is proxy, account, container or object; FOLDER holds swift.conf and KIND-server.conf. Debian's
own commands read /etc/swift/swift.conf, which belongs to the machine and not to a sandbox; this
file points them elsewhere and then runs them unchanged. Two more things differ from a real store:
nothing is forced to disk (the folder does not outlive the machine), and log lines go to stderr
alone, never to the machine's syslog.
"""

import logging
import os
import runpy
import sys


def main():
    kind, folder = sys.argv[1:]
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # for swift_auth
    sys.dont_write_bytecode = True
    os.fsync = os.fdatasync = lambda fd: None
    from swift.common import utils

    utils.ThreadSafeSysLogHandler = lambda **_: logging.NullHandler()
    utils.set_swift_dir(folder)
    sys.argv = [
        "swift-%s-server" % kind,
        os.path.join(folder, kind + "-server.conf"),
        "--verbose",
    ]
    runpy.run_path("/usr/bin/swift-%s-server" % kind, run_name="__main__")


if __name__ == "__main__":
    main()
