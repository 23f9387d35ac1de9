-- What the gateway lays into its PostgreSQL database at start: the types, functions and catalog
-- views of Redshift. Run as superuser with the name of the login role in redshift.setup_role;
-- running it again changes nothing. Types, operators and views lie in pg_catalog so that they are
-- found whatever the search path is; everything else lies in redshift_sys.

SET client_min_messages = warning;
SET allow_system_table_mods = on;
SET standard_conforming_strings = on;

CREATE SCHEMA IF NOT EXISTS redshift_sys;
CREATE SCHEMA IF NOT EXISTS redshift_information_schema;
GRANT USAGE ON SCHEMA redshift_sys, redshift_information_schema TO PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO PUBLIC;

-- ------------------------------------------------------------------ super: jsonb by another name

DO $setup$
BEGIN
    IF to_regtype('pg_catalog.super') IS NULL THEN
        CREATE TYPE pg_catalog.super;
        CREATE FUNCTION pg_catalog.super_in(cstring) RETURNS super
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'jsonb_in';
        CREATE FUNCTION pg_catalog.super_out(super) RETURNS cstring
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'jsonb_out';
        CREATE FUNCTION pg_catalog.super_recv(internal) RETURNS super
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'jsonb_recv';
        CREATE FUNCTION pg_catalog.super_send(super) RETURNS bytea
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'jsonb_send';
        CREATE TYPE pg_catalog.super (
            INPUT = super_in, OUTPUT = super_out, RECEIVE = super_recv, SEND = super_send,
            INTERNALLENGTH = VARIABLE, ALIGNMENT = int4, STORAGE = extended);
        CREATE CAST (super AS jsonb) WITHOUT FUNCTION;
        CREATE CAST (jsonb AS super) WITHOUT FUNCTION;

        -- Comparison of whole values is deep, as jsonb's.
        CREATE FUNCTION redshift_sys.super_eq(super, super) RETURNS boolean
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'jsonb_eq';
        CREATE FUNCTION redshift_sys.super_ne(super, super) RETURNS boolean
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'jsonb_ne';
        CREATE FUNCTION redshift_sys.super_lt(super, super) RETURNS boolean
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'jsonb_lt';
        CREATE FUNCTION redshift_sys.super_le(super, super) RETURNS boolean
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'jsonb_le';
        CREATE FUNCTION redshift_sys.super_gt(super, super) RETURNS boolean
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'jsonb_gt';
        CREATE FUNCTION redshift_sys.super_ge(super, super) RETURNS boolean
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'jsonb_ge';
        CREATE FUNCTION redshift_sys.super_cmp(super, super) RETURNS integer
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'jsonb_cmp';
        CREATE FUNCTION redshift_sys.super_hash(super) RETURNS integer
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'jsonb_hash';
        CREATE OPERATOR pg_catalog.= (FUNCTION = redshift_sys.super_eq, LEFTARG = super,
            RIGHTARG = super, COMMUTATOR = OPERATOR(pg_catalog.=), RESTRICT = eqsel,
            JOIN = eqjoinsel, HASHES, MERGES);
        CREATE OPERATOR pg_catalog.<> (FUNCTION = redshift_sys.super_ne, LEFTARG = super,
            RIGHTARG = super, COMMUTATOR = OPERATOR(pg_catalog.<>),
            NEGATOR = OPERATOR(pg_catalog.=), RESTRICT = neqsel, JOIN = neqjoinsel);
        CREATE OPERATOR pg_catalog.< (FUNCTION = redshift_sys.super_lt, LEFTARG = super,
            RIGHTARG = super);
        CREATE OPERATOR pg_catalog.<= (FUNCTION = redshift_sys.super_le, LEFTARG = super,
            RIGHTARG = super);
        CREATE OPERATOR pg_catalog.> (FUNCTION = redshift_sys.super_gt, LEFTARG = super,
            RIGHTARG = super);
        CREATE OPERATOR pg_catalog.>= (FUNCTION = redshift_sys.super_ge, LEFTARG = super,
            RIGHTARG = super);
        CREATE OPERATOR CLASS pg_catalog.super_ops DEFAULT FOR TYPE super USING btree AS
            OPERATOR 1 pg_catalog.<, OPERATOR 2 pg_catalog.<=, OPERATOR 3 pg_catalog.=,
            OPERATOR 4 pg_catalog.>=, OPERATOR 5 pg_catalog.>,
            FUNCTION 1 redshift_sys.super_cmp(super, super);
        CREATE OPERATOR CLASS pg_catalog.super_hash_ops DEFAULT FOR TYPE super USING hash AS
            OPERATOR 1 pg_catalog.=, FUNCTION 1 redshift_sys.super_hash(super);

        -- Into SUPER: scalars only. Dates have no cast, as in Redshift.
        CREATE FUNCTION redshift_sys.to_super(bpchar) RETURNS super
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'to_jsonb';
        CREATE FUNCTION redshift_sys.to_super(text) RETURNS super
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'to_jsonb';
        CREATE FUNCTION redshift_sys.to_super(smallint) RETURNS super
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'to_jsonb';
        CREATE FUNCTION redshift_sys.to_super(integer) RETURNS super
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'to_jsonb';
        CREATE FUNCTION redshift_sys.to_super(bigint) RETURNS super
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'to_jsonb';
        CREATE FUNCTION redshift_sys.to_super(numeric) RETURNS super
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'to_jsonb';
        CREATE FUNCTION redshift_sys.to_super(real) RETURNS super
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'to_jsonb';
        CREATE FUNCTION redshift_sys.to_super(double precision) RETURNS super
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'to_jsonb';
        CREATE FUNCTION redshift_sys.to_super(boolean) RETURNS super
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'to_jsonb';
        CREATE CAST (bpchar AS super) WITH FUNCTION redshift_sys.to_super(bpchar) AS ASSIGNMENT;
        CREATE CAST (text AS super) WITH FUNCTION redshift_sys.to_super(text) AS ASSIGNMENT;
        CREATE CAST (smallint AS super) WITH FUNCTION redshift_sys.to_super(smallint)
            AS ASSIGNMENT;
        CREATE CAST (integer AS super) WITH FUNCTION redshift_sys.to_super(integer) AS ASSIGNMENT;
        CREATE CAST (bigint AS super) WITH FUNCTION redshift_sys.to_super(bigint) AS ASSIGNMENT;
        CREATE CAST (numeric AS super) WITH FUNCTION redshift_sys.to_super(numeric) AS ASSIGNMENT;
        CREATE CAST (real AS super) WITH FUNCTION redshift_sys.to_super(real) AS ASSIGNMENT;
        CREATE CAST (double precision AS super)
            WITH FUNCTION redshift_sys.to_super(double precision) AS ASSIGNMENT;
        CREATE CAST (boolean AS super) WITH FUNCTION redshift_sys.to_super(boolean)
            AS ASSIGNMENT;
    END IF;
END
$setup$;

-- Out of SUPER: lax, NULL for what has no such form.
CREATE OR REPLACE FUNCTION redshift_sys.super_scalar(value jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ SELECT CASE WHEN jsonb_typeof(value) IN ('object', 'array') THEN NULL
                   ELSE value #>> '{}' END $$;
CREATE OR REPLACE FUNCTION redshift_sys.super_to_varchar(value super) RETURNS bpchar
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ SELECT redshift_sys.super_scalar(value::jsonb)::bpchar $$;
CREATE OR REPLACE FUNCTION redshift_sys.super_to_text(value super) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ SELECT redshift_sys.super_scalar(value::jsonb) $$;
CREATE OR REPLACE FUNCTION redshift_sys.super_to_numeric(value super) RETURNS numeric
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ BEGIN RETURN redshift_sys.super_scalar(value::jsonb)::numeric;
       EXCEPTION WHEN data_exception THEN RETURN NULL; END $$;
CREATE OR REPLACE FUNCTION redshift_sys.super_to_bigint(value super) RETURNS bigint
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ BEGIN RETURN redshift_sys.super_to_numeric(value)::bigint;
       EXCEPTION WHEN data_exception THEN RETURN NULL; END $$;
CREATE OR REPLACE FUNCTION redshift_sys.super_to_integer(value super) RETURNS integer
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ BEGIN RETURN redshift_sys.super_to_numeric(value)::integer;
       EXCEPTION WHEN data_exception THEN RETURN NULL; END $$;
CREATE OR REPLACE FUNCTION redshift_sys.super_to_smallint(value super) RETURNS smallint
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ BEGIN RETURN redshift_sys.super_to_numeric(value)::smallint;
       EXCEPTION WHEN data_exception THEN RETURN NULL; END $$;
CREATE OR REPLACE FUNCTION redshift_sys.super_to_double(value super) RETURNS double precision
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ BEGIN RETURN redshift_sys.super_scalar(value::jsonb)::double precision;
       EXCEPTION WHEN data_exception THEN RETURN NULL; END $$;
CREATE OR REPLACE FUNCTION redshift_sys.super_to_boolean(value super) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ BEGIN RETURN redshift_sys.super_scalar(value::jsonb)::boolean;
       EXCEPTION WHEN data_exception THEN RETURN NULL; END $$;
-- Lets OBJECT and ARRAY nest SUPER arguments: jsonb_build_* embed a type that has such a cast.
CREATE OR REPLACE FUNCTION redshift_sys.super_to_json(value super) RETURNS json
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ SELECT value::jsonb::text::json $$;
DO $setup$
DECLARE
    target record;
BEGIN
    FOR target IN SELECT * FROM (VALUES
        ('bpchar', 'super_to_varchar'), ('text', 'super_to_text'), ('numeric', 'super_to_numeric'),
        ('bigint', 'super_to_bigint'), ('integer', 'super_to_integer'),
        ('smallint', 'super_to_smallint'), ('double precision', 'super_to_double'),
        ('boolean', 'super_to_boolean'), ('json', 'super_to_json')) AS t (type, function)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_cast WHERE castsource = 'super'::regtype
                       AND casttarget = target.type::regtype) THEN
            EXECUTE format('CREATE CAST (super AS %s) WITH FUNCTION redshift_sys.%I(super)',
                           target.type, target.function);
        END IF;
    END LOOP;
END
$setup$;

-- Compact JSON text: white space outside strings goes. Function bodies are read under the session's
-- standard_conforming_strings, which is off for clients: so E'' wherever there is a backslash.
CREATE OR REPLACE FUNCTION redshift_sys.compact(value jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ SELECT regexp_replace(value::text, E'("(?:[^"\\\\]|\\\\.)*")|\\s+', E'\\1', 'g') $$;

CREATE OR REPLACE FUNCTION redshift_sys.json_serialize(value super) RETURNS bpchar
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    result text := redshift_sys.compact(value::jsonb);
BEGIN
    IF octet_length(result) > 65535 THEN
        RAISE EXCEPTION 'Value too long for character type' USING ERRCODE = '22001';
    END IF;
    RETURN result::bpchar;
END $$;

CREATE OR REPLACE FUNCTION redshift_sys.json_typeof(value super) RETURNS bpchar
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ SELECT jsonb_typeof(value::jsonb)::bpchar $$;

CREATE OR REPLACE FUNCTION redshift_sys.has_duplicate_keys(value json) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    CASE json_typeof(value)
    WHEN 'object' THEN
        RETURN (SELECT count(*) > count(DISTINCT key) OR
                       bool_or(json_typeof(e.value) IN ('object', 'array') AND
                               redshift_sys.has_duplicate_keys(e.value))
                FROM json_each(value) AS e);
    WHEN 'array' THEN
        RETURN (SELECT bool_or(json_typeof(e.value) IN ('object', 'array') AND
                               redshift_sys.has_duplicate_keys(e.value))
                FROM json_array_elements(value) AS e);
    ELSE
        RETURN false;
    END CASE;
END $$;

-- Strings inside SUPER have at most 65,535 bytes; json_parse_truncate_strings cuts values.
CREATE OR REPLACE FUNCTION redshift_sys.bound_strings(value jsonb, may_cut boolean) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    scalar text;
    kept text;
BEGIN
    CASE jsonb_typeof(value)
    WHEN 'object' THEN
        RETURN (SELECT coalesce(jsonb_object_agg(key, redshift_sys.bound_strings(e.value, may_cut)),
                                '{}')
                FROM jsonb_each(value) AS e);
    WHEN 'array' THEN
        RETURN (SELECT coalesce(jsonb_agg(redshift_sys.bound_strings(e.value, may_cut)
                                          ORDER BY position), '[]')
                FROM jsonb_array_elements(value) WITH ORDINALITY AS e (value, position));
    WHEN 'string' THEN
        scalar := value #>> '{}';
        IF octet_length(scalar) <= 65535 THEN
            RETURN value;
        END IF;
        IF NOT may_cut THEN
            RAISE EXCEPTION 'String value exceeds the max size of 65535 bytes'
                USING ERRCODE = 'XX000';
        END IF;
        kept := left(scalar, 65535);
        WHILE octet_length(kept) > 65535 LOOP
            kept := left(kept, -greatest(1, (octet_length(kept) - 65535) / 4));
        END LOOP;
        RETURN to_jsonb(kept);
    ELSE
        RETURN value;
    END CASE;
END $$;

CREATE OR REPLACE FUNCTION redshift_sys.json_parse(value text) RETURNS super
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
DECLARE
    parsed jsonb;
BEGIN
    BEGIN
        parsed := value::jsonb;
    EXCEPTION WHEN data_exception THEN
        RAISE EXCEPTION 'Invalid JSON: %', SQLERRM USING ERRCODE = 'XX000';
    END;
    IF coalesce(current_setting('redshift.json_parse_dedup_attributes', true), 'off') <> 'on'
       AND redshift_sys.has_duplicate_keys(value::json) THEN
        RAISE EXCEPTION 'Duplicate attribute in JSON object' USING ERRCODE = 'XX000';
    END IF;
    IF octet_length(value) > 65535 THEN
        parsed := redshift_sys.bound_strings(parsed,
            coalesce(current_setting('redshift.json_parse_truncate_strings', true), 'off') = 'on');
        IF octet_length(value) > 16384000 THEN
            RAISE EXCEPTION 'Value exceeds the maximum size of SUPER' USING ERRCODE = 'XX000';
        END IF;
    END IF;
    RETURN parsed::super;
END $$;

CREATE OR REPLACE FUNCTION redshift_sys.can_json_parse(value text) RETURNS boolean
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
BEGIN
    PERFORM redshift_sys.json_parse(value);
    RETURN true;
EXCEPTION WHEN others THEN
    RETURN false;
END $$;

DO $setup$
BEGIN
    IF to_regprocedure('redshift_sys.object()') IS NULL THEN
        CREATE FUNCTION redshift_sys.object(VARIADIC "any") RETURNS super
            LANGUAGE internal STABLE PARALLEL SAFE AS 'jsonb_build_object';
        CREATE FUNCTION redshift_sys.object() RETURNS super
            LANGUAGE internal STABLE PARALLEL SAFE AS 'jsonb_build_object_noargs';
        CREATE FUNCTION redshift_sys.array(VARIADIC "any") RETURNS super
            LANGUAGE internal STABLE PARALLEL SAFE AS 'jsonb_build_array';
        CREATE FUNCTION redshift_sys.array() RETURNS super
            LANGUAGE internal STABLE PARALLEL SAFE AS 'jsonb_build_array_noargs';
    END IF;
END
$setup$;

-- ------------------------------------------------------------------ varbyte: bytea by another name

DO $setup$
BEGIN
    IF to_regtype('pg_catalog.varbyte') IS NULL THEN
        CREATE TYPE pg_catalog.varbyte;
        CREATE FUNCTION pg_catalog.varbyte_in(cstring) RETURNS varbyte
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteain';
        CREATE FUNCTION pg_catalog.varbyte_out(varbyte) RETURNS cstring
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteaout';
        CREATE FUNCTION pg_catalog.varbyte_recv(internal) RETURNS varbyte
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bytearecv';
        CREATE FUNCTION pg_catalog.varbyte_send(varbyte) RETURNS bytea
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteasend';
        CREATE TYPE pg_catalog.varbyte (
            INPUT = varbyte_in, OUTPUT = varbyte_out, RECEIVE = varbyte_recv, SEND = varbyte_send,
            INTERNALLENGTH = VARIABLE, ALIGNMENT = int4, STORAGE = extended);
        CREATE CAST (varbyte AS bytea) WITHOUT FUNCTION;
        CREATE CAST (bytea AS varbyte) WITHOUT FUNCTION;

        CREATE FUNCTION redshift_sys.varbyte_eq(varbyte, varbyte) RETURNS boolean
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteaeq';
        CREATE FUNCTION redshift_sys.varbyte_ne(varbyte, varbyte) RETURNS boolean
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteane';
        CREATE FUNCTION redshift_sys.varbyte_lt(varbyte, varbyte) RETURNS boolean
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bytealt';
        CREATE FUNCTION redshift_sys.varbyte_le(varbyte, varbyte) RETURNS boolean
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteale';
        CREATE FUNCTION redshift_sys.varbyte_gt(varbyte, varbyte) RETURNS boolean
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteagt';
        CREATE FUNCTION redshift_sys.varbyte_ge(varbyte, varbyte) RETURNS boolean
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteage';
        CREATE FUNCTION redshift_sys.varbyte_cmp(varbyte, varbyte) RETURNS integer
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteacmp';
        CREATE FUNCTION redshift_sys.varbyte_hash(varbyte) RETURNS integer
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashvarlena';
        CREATE FUNCTION redshift_sys.varbyte_length(varbyte) RETURNS integer
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteaoctetlen';
        CREATE OPERATOR pg_catalog.= (FUNCTION = redshift_sys.varbyte_eq, LEFTARG = varbyte,
            RIGHTARG = varbyte, COMMUTATOR = OPERATOR(pg_catalog.=), RESTRICT = eqsel,
            JOIN = eqjoinsel, HASHES, MERGES);
        CREATE OPERATOR pg_catalog.<> (FUNCTION = redshift_sys.varbyte_ne, LEFTARG = varbyte,
            RIGHTARG = varbyte, COMMUTATOR = OPERATOR(pg_catalog.<>),
            NEGATOR = OPERATOR(pg_catalog.=), RESTRICT = neqsel, JOIN = neqjoinsel);
        CREATE OPERATOR pg_catalog.< (FUNCTION = redshift_sys.varbyte_lt, LEFTARG = varbyte,
            RIGHTARG = varbyte);
        CREATE OPERATOR pg_catalog.<= (FUNCTION = redshift_sys.varbyte_le, LEFTARG = varbyte,
            RIGHTARG = varbyte);
        CREATE OPERATOR pg_catalog.> (FUNCTION = redshift_sys.varbyte_gt, LEFTARG = varbyte,
            RIGHTARG = varbyte);
        CREATE OPERATOR pg_catalog.>= (FUNCTION = redshift_sys.varbyte_ge, LEFTARG = varbyte,
            RIGHTARG = varbyte);
        CREATE OPERATOR CLASS pg_catalog.varbyte_ops DEFAULT FOR TYPE varbyte USING btree AS
            OPERATOR 1 pg_catalog.<, OPERATOR 2 pg_catalog.<=, OPERATOR 3 pg_catalog.=,
            OPERATOR 4 pg_catalog.>=, OPERATOR 5 pg_catalog.>,
            FUNCTION 1 redshift_sys.varbyte_cmp(varbyte, varbyte);
        CREATE OPERATOR CLASS pg_catalog.varbyte_hash_ops DEFAULT FOR TYPE varbyte USING hash AS
            OPERATOR 1 pg_catalog.=, FUNCTION 1 redshift_sys.varbyte_hash(varbyte);
    END IF;
END
$setup$;

CREATE OR REPLACE FUNCTION redshift_sys.text_to_varbyte(value text) RETURNS varbyte
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ SELECT convert_to(value, 'UTF8')::varbyte $$;
CREATE OR REPLACE FUNCTION redshift_sys.bpchar_to_varbyte(value bpchar) RETURNS varbyte
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ SELECT pg_catalog.bpcharsend(value)::varbyte $$;
CREATE OR REPLACE FUNCTION redshift_sys.varbyte_to_bpchar(value varbyte) RETURNS bpchar
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ SELECT convert_from(value::bytea, 'UTF8')::bpchar $$;
DO $setup$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_cast WHERE castsource = 'varbyte'::regtype
                   AND casttarget = 'bpchar'::regtype) THEN
        CREATE CAST (text AS varbyte) WITH FUNCTION redshift_sys.text_to_varbyte(text)
            AS ASSIGNMENT;
        CREATE CAST (bpchar AS varbyte) WITH FUNCTION redshift_sys.bpchar_to_varbyte(bpchar)
            AS ASSIGNMENT;
        CREATE CAST (varbyte AS bpchar) WITH FUNCTION redshift_sys.varbyte_to_bpchar(varbyte);
    END IF;
END
$setup$;

CREATE OR REPLACE FUNCTION redshift_sys.to_varbyte(value text, format text) RETURNS varbyte
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    CASE lower(format)
    WHEN 'hex' THEN RETURN decode(value, 'hex')::varbyte;
    WHEN 'base64' THEN RETURN decode(value, 'base64')::varbyte;
    WHEN 'utf8', 'utf-8' THEN RETURN convert_to(value, 'UTF8')::varbyte;
    WHEN 'binary' THEN
        RETURN (SELECT coalesce(string_agg(set_byte(decode('00', 'hex'), 0,
                    (substr(value, 1 + 8 * i, 8))::bit(8)::integer), '' ORDER BY i), '')
                FROM generate_series(0, length(value) / 8 - 1) AS i)::varbyte;
    ELSE RAISE EXCEPTION 'Invalid format: %', format USING ERRCODE = '22023';
    END CASE;
END $$;
CREATE OR REPLACE FUNCTION redshift_sys.from_varbyte(value varbyte, format text) RETURNS bpchar
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    result text;
BEGIN
    CASE lower(format)
    WHEN 'hex' THEN result := encode(value::bytea, 'hex');
    WHEN 'base64' THEN result := encode(value::bytea, 'base64');
    WHEN 'utf8', 'utf-8' THEN result := convert_from(value::bytea, 'UTF8');
    WHEN 'binary' THEN
        SELECT string_agg(get_byte(value::bytea, i)::bit(8)::text, '' ORDER BY i) INTO result
        FROM generate_series(0, octet_length(value::bytea) - 1) AS i;
    ELSE RAISE EXCEPTION 'Invalid format: %', format USING ERRCODE = '22023';
    END CASE;
    IF octet_length(result) > 65535 THEN
        RAISE EXCEPTION 'Value too long for character type' USING ERRCODE = '22001';
    END IF;
    RETURN coalesce(result, '')::bpchar;
END $$;
CREATE OR REPLACE FUNCTION redshift_sys.json_serialize_to_varbyte(value super) RETURNS varbyte
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ SELECT convert_to(redshift_sys.compact(value::jsonb), 'UTF8')::varbyte $$;

-- ------------------------------------------------------------------ character functions

-- LENGTH counts trailing blanks; PostgreSQL's length(bpchar) does not.
DO $setup$
BEGIN
    IF to_regprocedure('redshift_sys.length(bpchar)') IS NULL THEN
        CREATE FUNCTION redshift_sys.length(bpchar) RETURNS integer
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textlen';
        CREATE FUNCTION redshift_sys.length(text) RETURNS integer
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textlen';
        CREATE FUNCTION redshift_sys.length(varbyte) RETURNS integer
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteaoctetlen';
        CREATE FUNCTION redshift_sys.octet_length(bpchar) RETURNS integer
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textoctetlen';
        CREATE FUNCTION redshift_sys.octet_length(text) RETURNS integer
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textoctetlen';
        CREATE FUNCTION redshift_sys.octet_length(varbyte) RETURNS integer
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteaoctetlen';
        -- Concatenation keeps the blanks at the end of its left side.
        CREATE FUNCTION redshift_sys.concat(bpchar, bpchar) RETURNS bpchar
            LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textcat';
        CREATE OPERATOR pg_catalog.|| (FUNCTION = redshift_sys.concat, LEFTARG = bpchar,
            RIGHTARG = bpchar);
    END IF;
END
$setup$;

-- An explicit cast to VARCHAR(n) cuts at n bytes, never inside a character.
CREATE OR REPLACE FUNCTION redshift_sys.varchar_cut(value bpchar, bytes integer) RETURNS bpchar
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    raw bytea;
    size integer := bytes;
BEGIN
    IF octet_length(value) <= bytes THEN
        RETURN value;
    END IF;
    raw := pg_catalog.bpcharsend(value);
    WHILE size > 0 AND (get_byte(raw, size) & 192) = 128 LOOP
        size := size - 1;
    END LOOP;
    RETURN convert_from(substring(raw FOR size), 'UTF8')::bpchar;
END $$;

-- ------------------------------------------------------------------ time, session

CREATE OR REPLACE FUNCTION redshift_sys.sysdate() RETURNS timestamp
    LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT now() AT TIME ZONE 'UTC' $$;
CREATE OR REPLACE FUNCTION redshift_sys.getdate() RETURNS timestamp
    LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT date_trunc('second', statement_timestamp() AT TIME ZONE 'UTC') $$;
CREATE OR REPLACE FUNCTION redshift_sys.version() RETURNS bpchar
    LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT ('PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2 20041017 '
               '(Red Hat 3.4.2-6.fc3), Redshift 1.0.119211')::bpchar $$;
CREATE OR REPLACE FUNCTION redshift_sys.pg_last_copy_count() RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT coalesce(nullif(current_setting('redshift.last_copy_count', true), ''), '0')::bigint $$;
CREATE OR REPLACE FUNCTION redshift_sys.pg_last_copy_id() RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT coalesce(nullif(current_setting('redshift.last_copy_id', true), ''), '-1')::bigint $$;
CREATE OR REPLACE FUNCTION redshift_sys.strtol(value text, base integer) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ SELECT CASE base WHEN 16 THEN ('x' || lpad(value, 16, '0'))::bit(64)::bigint
                        ELSE value::bigint END $$;

-- ------------------------------------------------------------------ names

-- Names of 64 to 127 bytes; see ident.h.
CREATE TABLE IF NOT EXISTS redshift_sys.long_names (
    backend_name text PRIMARY KEY,
    full_name text NOT NULL
);
GRANT SELECT ON redshift_sys.long_names TO PUBLIC;

CREATE OR REPLACE FUNCTION redshift_sys.full_name(name) RETURNS bpchar
    LANGUAGE sql STABLE STRICT PARALLEL SAFE AS
    $$ SELECT coalesce((SELECT full_name FROM redshift_sys.long_names WHERE backend_name = $1::text),
                       $1::text)::bpchar $$;

-- Facts about columns that PostgreSQL does not keep for us: primary key, unique, foreign key,
-- distribution and sort keys; of permanent tables only. Rows of dropped tables are harmless: oids are
-- not soon used again.
CREATE TABLE IF NOT EXISTS redshift_sys.column_marks (
    relation oid NOT NULL,
    attribute smallint NOT NULL,
    mark text NOT NULL CHECK (mark IN ('key', 'distkey', 'sortkey'))
);
GRANT SELECT, INSERT, DELETE ON redshift_sys.column_marks TO PUBLIC;

-- ------------------------------------------------------------------ load errors (written by COPY)

CREATE SEQUENCE IF NOT EXISTS redshift_sys.query_ids START 1000;
GRANT USAGE ON redshift_sys.query_ids TO PUBLIC;

CREATE TABLE IF NOT EXISTS redshift_sys.sys_load_error_detail (
    user_id integer, query_id bigint, transaction_id bigint, session_id integer,
    database_name char(64), table_id integer, start_time timestamp, file_name char(256),
    line_number bigint, column_name char(127), column_type char(10), column_length char(10),
    position integer, error_code integer, error_message char(512)
);
CREATE TABLE IF NOT EXISTS redshift_sys.stl_load_errors (
    userid integer, slice integer, tbl integer, starttime timestamp, session integer, query integer,
    filename char(256), line_number bigint, colname char(127), type char(10), col_length char(10),
    position integer, raw_line char(1024), raw_field_value char(1024), err_code integer,
    err_reason char(100), is_partial integer, start_offset bigint
);
CREATE TABLE IF NOT EXISTS redshift_sys.sys_load_history (
    user_id integer, query_id bigint, transaction_id bigint, session_id integer,
    database_name bpchar, schema_name bpchar, table_name bpchar, start_time timestamp,
    end_time timestamp, duration bigint, data_source bpchar, file_format bpchar,
    loaded_rows bigint, loaded_bytes bigint, source_file_count integer, source_file_bytes bigint,
    file_count_scanned integer, file_bytes_scanned bigint, error_count bigint, status bpchar
);
GRANT SELECT ON redshift_sys.sys_load_error_detail, redshift_sys.stl_load_errors,
    redshift_sys.sys_load_history TO PUBLIC;

CREATE OR REPLACE VIEW pg_catalog.sys_load_error_detail AS
    SELECT * FROM redshift_sys.sys_load_error_detail;
CREATE OR REPLACE VIEW pg_catalog.stl_load_errors AS
    SELECT * FROM redshift_sys.stl_load_errors;
CREATE OR REPLACE VIEW pg_catalog.sys_load_history AS
    SELECT * FROM redshift_sys.sys_load_history;

-- ------------------------------------------------------------------ catalog as Redshift shows it

CREATE OR REPLACE VIEW redshift_sys.schemas AS
    SELECT n.oid, redshift_sys.full_name(n.nspname) AS schema_name, n.nspowner
    FROM pg_namespace AS n
    WHERE n.nspname NOT IN ('redshift_sys', 'redshift_information_schema', 'pg_toast')
      AND n.nspname !~ '^pg_(toast_)?temp_';

CREATE OR REPLACE VIEW redshift_sys.relations AS
    SELECT c.oid, current_database()::bpchar AS database_name,
           redshift_sys.full_name(n.nspname) AS schema_name,
           redshift_sys.full_name(c.relname) AS table_name,
           CASE WHEN c.relkind = 'v' THEN 'VIEW'
                WHEN c.relpersistence = 't' THEN 'LOCAL TEMPORARY'
                ELSE 'BASE TABLE' END::bpchar AS table_type,
           obj_description(c.oid, 'pg_class')::bpchar AS remarks
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'v', 'p')
      AND n.nspname NOT IN ('redshift_sys', 'redshift_information_schema', 'pg_toast')
      AND (n.nspname !~ '^pg_temp_' OR n.oid = pg_my_temp_schema());

CREATE OR REPLACE VIEW redshift_sys.attributes AS
    SELECT r.oid, r.database_name, r.schema_name, r.table_name,
           redshift_sys.full_name(a.attname) AS column_name,
           row_number() OVER (PARTITION BY r.oid ORDER BY a.attnum)::integer AS ordinal_position,
           pg_get_expr(d.adbin, d.adrelid)::bpchar AS column_default,
           CASE WHEN a.attnotnull THEN 'NO' ELSE 'YES' END::bpchar AS is_nullable,
           CASE WHEN t.typname ~ '^varchar_[0-9]+$' THEN 'character varying'
                WHEN t.typname ~ '^char_[0-9]+$' THEN 'character'
                WHEN t.typname ~ '^varbyte(_[0-9]+)?$' THEN 'binary varying'
                WHEN t.typname = 'super' THEN 'super'
                WHEN t.typname IN ('text', 'bpchar', 'varchar') THEN 'character varying'
                ELSE format_type(a.atttypid, NULL) END::bpchar AS data_type,
           CASE WHEN t.typname ~ '^(varchar|char)_[0-9]+$'
                THEN substring(t.typname FROM '[0-9]+$')::integer
                WHEN t.typname IN ('text', 'bpchar', 'varchar') THEN 65535
                END AS character_maximum_length,
           CASE t.typname
                WHEN 'int2' THEN 16 WHEN 'int4' THEN 32 WHEN 'int8' THEN 64
                WHEN 'float4' THEN 24 WHEN 'float8' THEN 53
                WHEN 'numeric' THEN
                    CASE WHEN a.atttypmod >= 4 THEN ((a.atttypmod - 4) >> 16) & 65535 END
                END AS numeric_precision,
           CASE WHEN t.typname IN ('int2', 'int4', 'int8') THEN 0
                WHEN t.typname = 'numeric' AND a.atttypmod >= 4 THEN (a.atttypmod - 4) & 2047
                END AS numeric_scale,
           col_description(r.oid, a.attnum)::bpchar AS remarks
    FROM redshift_sys.relations AS r
    JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type AS t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef AS d ON d.adrelid = r.oid AND d.adnum = a.attnum;

CREATE OR REPLACE VIEW redshift_information_schema.schemata AS
    SELECT current_database()::bpchar AS catalog_name, schema_name,
           pg_get_userbyid(nspowner)::bpchar AS schema_owner,
           NULL::bpchar AS default_character_set_catalog,
           NULL::bpchar AS default_character_set_schema,
           NULL::bpchar AS default_character_set_name, NULL::bpchar AS sql_path
    FROM redshift_sys.schemas;
CREATE OR REPLACE VIEW redshift_information_schema.tables AS
    SELECT database_name AS table_catalog, schema_name AS table_schema, table_name, table_type,
           NULL::bpchar AS self_referencing_column_name, NULL::bpchar AS reference_generation,
           NULL::bpchar AS user_defined_type_catalog, NULL::bpchar AS user_defined_type_schema,
           NULL::bpchar AS user_defined_name
    FROM redshift_sys.relations;
CREATE OR REPLACE VIEW redshift_information_schema.columns AS
    SELECT database_name AS table_catalog, schema_name AS table_schema, table_name, column_name,
           ordinal_position, column_default, is_nullable, data_type, character_maximum_length,
           NULL::integer AS character_octet_length, numeric_precision,
           CASE WHEN data_type IN ('real', 'double precision', 'smallint', 'integer', 'bigint')
                THEN 2 WHEN data_type = 'numeric' THEN 10 END AS numeric_precision_radix,
           numeric_scale, NULL::integer AS datetime_precision, NULL::bpchar AS interval_type,
           NULL::bpchar AS interval_precision
    FROM redshift_sys.attributes;

CREATE OR REPLACE VIEW pg_catalog.svv_all_schemas AS
    SELECT current_database()::bpchar AS database_name, schema_name,
           nspowner::integer AS schema_owner, 'local'::bpchar AS schema_type,
           NULL::bpchar AS schema_acl, NULL::bpchar AS source_database,
           NULL::bpchar AS schema_option
    FROM redshift_sys.schemas;
CREATE OR REPLACE VIEW pg_catalog.svv_tables AS
    SELECT database_name AS table_catalog, schema_name AS table_schema, table_name, table_type,
           remarks
    FROM redshift_sys.relations;
CREATE OR REPLACE VIEW pg_catalog.svv_columns AS
    SELECT database_name AS table_catalog, schema_name AS table_schema, table_name, column_name,
           ordinal_position, column_default, is_nullable, data_type, character_maximum_length,
           numeric_precision, NULL::integer AS numeric_precision_radix, numeric_scale,
           NULL::integer AS datetime_precision, NULL::bpchar AS interval_type,
           NULL::bpchar AS interval_precision, NULL::bpchar AS character_set_catalog,
           NULL::bpchar AS character_set_schema, NULL::bpchar AS character_set_name,
           NULL::bpchar AS collation_catalog, NULL::bpchar AS collation_schema,
           NULL::bpchar AS collation_name, NULL::bpchar AS domain_name, remarks
    FROM redshift_sys.attributes;
CREATE OR REPLACE VIEW pg_catalog.svv_all_tables AS
    SELECT database_name, schema_name, table_name, NULL::bpchar AS table_acl, table_type, remarks
    FROM redshift_sys.relations;
CREATE OR REPLACE VIEW pg_catalog.svv_all_columns AS
    SELECT database_name, schema_name, table_name, column_name, ordinal_position, column_default,
           is_nullable, data_type, character_maximum_length, numeric_precision, numeric_scale,
           remarks
    FROM redshift_sys.attributes;
CREATE OR REPLACE VIEW pg_catalog.pg_table_def AS
    SELECT a.schema_name AS schemaname, a.table_name AS tablename, a.column_name AS "column",
           CASE WHEN a.character_maximum_length IS NOT NULL
                THEN a.data_type || '(' || a.character_maximum_length || ')'
                WHEN a.data_type = 'numeric'
                THEN 'numeric(' || a.numeric_precision || ',' || a.numeric_scale || ')'
                ELSE a.data_type END::bpchar AS type,
           'none'::bpchar AS encoding,
           EXISTS (SELECT FROM redshift_sys.column_marks AS m JOIN pg_attribute AS p
                   ON p.attrelid = m.relation AND p.attnum = m.attribute
                   WHERE m.relation = a.oid AND m.mark = 'distkey'
                     AND redshift_sys.full_name(p.attname) = a.column_name) AS distkey,
           0 AS sortkey, a.is_nullable = 'NO' AS "notnull"
    FROM redshift_sys.attributes AS a
    WHERE a.schema_name = ANY (current_schemas(true)::text[]);

-- ------------------------------------------------------------------ what goes on

-- A user sees its own sessions; with pg_read_all_stats, which stands for SYSLOG ACCESS UNRESTRICTED,
-- everybody's.
CREATE OR REPLACE VIEW redshift_sys.visible_sessions AS
    SELECT * FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND datname = current_database()
      AND (usename = current_user OR pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'));
CREATE OR REPLACE VIEW pg_catalog.svv_transactions AS
    SELECT s.usename::text::bpchar AS txn_owner, s.datname::text::bpchar AS txn_db, l.pid,
           s.xact_start AT TIME ZONE 'UTC' AS txn_start, l.mode::bpchar AS lock_mode,
           CASE l.locktype WHEN 'relation' THEN 'relation' ELSE 'transactionid' END::bpchar
               AS lockable_object_type, l.relation::integer AS relation, l.granted
    FROM pg_locks AS l JOIN redshift_sys.visible_sessions AS s ON s.pid = l.pid
    WHERE l.locktype IN ('relation', 'transactionid');
-- There are no queues here, so no statement has the status queued.
CREATE OR REPLACE VIEW pg_catalog.sys_query_history AS
    SELECT usesysid::integer AS user_id, pid AS session_id, datname::text::bpchar AS database_name,
           CASE state WHEN 'active' THEN 'running' ELSE 'success' END::char(10) AS status,
           query_start AT TIME ZONE 'UTC' AS start_time
    FROM redshift_sys.visible_sessions;
GRANT SELECT ON pg_catalog.svv_transactions, pg_catalog.sys_query_history TO PUBLIC;

GRANT SELECT ON ALL TABLES IN SCHEMA redshift_sys TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA redshift_information_schema TO PUBLIC;
GRANT SELECT ON pg_catalog.sys_load_error_detail, pg_catalog.stl_load_errors,
    pg_catalog.sys_load_history, pg_catalog.svv_all_schemas, pg_catalog.svv_tables,
    pg_catalog.svv_columns, pg_catalog.svv_all_tables, pg_catalog.svv_all_columns,
    pg_catalog.pg_table_def TO PUBLIC;

-- ------------------------------------------------------------------ domains used by most tables

DO $setup$
DECLARE
    size integer;
BEGIN
    FOREACH size IN ARRAY ARRAY[256, 65535] LOOP
        IF to_regtype('redshift_sys.varchar_' || size) IS NULL THEN
            EXECUTE format('CREATE DOMAIN redshift_sys.varchar_%s AS bpchar '
                           'CHECK (octet_length(VALUE) <= %s)', size, size);
        END IF;
    END LOOP;
END
$setup$;

CREATE OR REPLACE FUNCTION redshift_sys.to_hex(value varbyte) RETURNS bpchar
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ SELECT encode(value::bytea, 'hex')::bpchar $$;
CREATE OR REPLACE FUNCTION redshift_sys.to_hex(value bigint) RETURNS bpchar
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ SELECT pg_catalog.to_hex(value)::bpchar $$;
CREATE OR REPLACE FUNCTION redshift_sys.from_hex(value text) RETURNS varbyte
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ SELECT decode(value, 'hex')::varbyte $$;
