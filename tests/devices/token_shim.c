/* Stands between the gate and a real PKCS#11 module, and has it misbehave.
 *
 * TOKEN_SHIM_MODULE names the real module, TOKEN_SHIM_CONTROL a text file that is read before every call:
 *
 *     sign_ms 250          each signature takes so long
 *     sign_code 0x30       each signature ends with this code (CKR_DEVICE_ERROR)
 *     sign_code_after 0x32 the signature is made, and then this code is returned
 *     code 0x32            every call with a session ends with this code (CKR_DEVICE_REMOVED)
 *     create_code 0x31     nothing can be written into the token (CKR_DEVICE_MEMORY)
 *     garble 1             one bit of each signature is wrong
 *     hang 1               a signature never returns while this stands
 *
 * Every call of C_Login and C_Sign is appended to TOKEN_SHIM_CONTROL.calls.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long CK_ULONG;
typedef CK_ULONG CK_RV;
typedef unsigned char CK_BYTE;

/* The function list of PKCS#11 2.40: a version, padded to a pointer, and 68 functions in a fixed order. */
enum { INITIALIZE = 0, OPEN_SESSION = 12, GET_SESSION_INFO = 15, LOGIN = 18, CREATE = 20, GET_ATTRIBUTE = 24, FIND_INIT = 26, SIGN_INIT = 42, SIGN = 43, FUNCTIONS = 68 };
struct list {
    CK_BYTE version[2];
    void *function[FUNCTIONS];
};

static struct list ours, *theirs;

static CK_ULONG control(const char *name) {
    char line[128], key[64], value[64];
    CK_ULONG found = 0;
    FILE *file = fopen(getenv("TOKEN_SHIM_CONTROL"), "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%63s %63s", key, value) == 2 && !strcmp(key, name)) found = strtoul(value, NULL, 0);
    fclose(file);
    return found;
}

static void note(const char *call) {
    char path[4096];
    snprintf(path, sizeof path, "%s.calls", getenv("TOKEN_SHIM_CONTROL"));
    FILE *file = fopen(path, "a");
    if (file) { fprintf(file, "%s\n", call); fclose(file); }
}

typedef CK_RV (*three)(CK_ULONG, void *, CK_ULONG);
typedef CK_RV (*four)(CK_ULONG, CK_ULONG, void *, CK_ULONG);
typedef CK_RV (*sign)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
typedef CK_RV (*init)(CK_ULONG, void *, CK_ULONG);
typedef CK_RV (*open_session)(CK_ULONG, CK_ULONG, void *, void *, CK_ULONG *);

static CK_RV shim_login(CK_ULONG session, CK_ULONG user, void *pin, CK_ULONG length) {
    note("login");
    CK_ULONG code = control("code");
    return code ? code : ((four)theirs->function[LOGIN])(session, user, pin, length);
}

static CK_RV shim_open(CK_ULONG slot, CK_ULONG flags, void *a, void *b, CK_ULONG *session) {
    CK_ULONG code = control("code");
    return code ? code : ((open_session)theirs->function[OPEN_SESSION])(slot, flags, a, b, session);
}

static CK_RV shim_attribute(CK_ULONG session, CK_ULONG object, void *template, CK_ULONG count) {
    CK_ULONG code = control("code");
    return code ? code : ((four)theirs->function[GET_ATTRIBUTE])(session, object, template, count);
}

typedef CK_RV (*create)(CK_ULONG, void *, CK_ULONG, CK_ULONG *);

static CK_RV shim_create(CK_ULONG session, void *template, CK_ULONG count, CK_ULONG *object) {
    CK_ULONG code = control("create_code");
    return code ? code : ((create)theirs->function[CREATE])(session, template, count, object);
}

static CK_RV shim_find_init(CK_ULONG session, void *template, CK_ULONG count) {
    CK_ULONG code = control("code");
    return code ? code : ((three)theirs->function[FIND_INIT])(session, template, count);
}

static CK_RV shim_sign_init(CK_ULONG session, void *mechanism, CK_ULONG key) {
    CK_ULONG code = control("code");
    return code ? code : ((init)theirs->function[SIGN_INIT])(session, mechanism, key);
}

static CK_RV shim_sign(CK_ULONG session, CK_BYTE *data, CK_ULONG length, CK_BYTE *signature, CK_ULONG *size) {
    if (signature == NULL) return ((sign)theirs->function[SIGN])(session, data, length, signature, size);
    note("sign");
    while (control("hang")) usleep(20000);
    usleep(control("sign_ms") * 1000);
    CK_ULONG code = control("code");
    if (code || (code = control("sign_code"))) return code;
    CK_RV result = ((sign)theirs->function[SIGN])(session, data, length, signature, size);
    if ((code = control("sign_code_after"))) return code;
    if (result == 0 && control("garble")) signature[10] ^= 1;
    return result;
}

CK_RV C_GetFunctionList(struct list **list) {
    if (!theirs) {
        void *module = dlopen(getenv("TOKEN_SHIM_MODULE"), RTLD_NOW);
        if (!module) return 5;
        CK_RV (*get)(struct list **) = (CK_RV (*)(struct list **))dlsym(module, "C_GetFunctionList");
        if (!get || get(&theirs)) return 5;
        ours = *theirs;
        ours.function[LOGIN] = (void *)shim_login;
        ours.function[OPEN_SESSION] = (void *)shim_open;
        ours.function[GET_ATTRIBUTE] = (void *)shim_attribute;
        ours.function[CREATE] = (void *)shim_create;
        ours.function[FIND_INIT] = (void *)shim_find_init;
        ours.function[SIGN_INIT] = (void *)shim_sign_init;
        ours.function[SIGN] = (void *)shim_sign;
    }
    *list = &ours;
    return 0;
}
