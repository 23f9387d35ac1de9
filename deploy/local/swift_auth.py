"""Swift's tempauth with S3 access keys that look like Amazon's.

tempauth uses its own user names, "account:user", as access keys. A colon in an access key is legal
on the wire, but many clients split "key:secret" at the first one. Here each user has a second name,
the option "access_key_ACCOUNT_USER"; everything else is tempauth's.
"""

from swift.common.middleware import tempauth


def filter_factory(global_conf, **conf):
    make = tempauth.filter_factory(global_conf, **conf)

    def with_access_keys(app):
        auth = make(app)
        for option, access_key in conf.items():
            if option.startswith("access_key_"):
                account, user = option[len("access_key_"):].split("_")
                auth.users[access_key] = auth.users[account + ":" + user]
        return auth

    return with_access_keys
