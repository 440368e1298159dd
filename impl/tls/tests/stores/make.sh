#!/bin/sh
# Makes the stores beside it, with openssl 3 and keytool of Java 17. They are for tests alone: their keys are public, and
# all have the password `secret-of-tests`. They are valid for a hundred years from the day on which this was run.
set -e
cd "$(dirname "$0")"
rm -f ./*.pem ./*.p12 ./*.jks ./*.txt
P=secret-of-tests
DAYS=36500
W=$(mktemp -d)
trap 'rm -rf "$W"' EXIT

ec() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1"; }
# Signs a certificate: name, subject, extensions.
leaf() {
    [ -f "$W/$1.key" ] || ec "$W/$1.key"
    openssl req -new -key "$W/$1.key" -subj "$2" -utf8 -out "$W/$1.csr" $4
    printf '%b' "$3" > "$W/$1.ext"
    openssl x509 -req -in "$W/$1.csr" -CA ca.pem -CAkey "$W/ca.key" -days $DAYS -sha256 \
        -set_serial "0x$(openssl rand -hex 8)" -extfile "$W/$1.ext" -out "$W/$1.crt" 2>/dev/null
}

ec "$W/ca.key"
openssl req -x509 -new -key "$W/ca.key" -subj "/O=Zabkeeper tests/CN=Authority" -days $DAYS -out ca.pem

# A server's, of which the hosts are the loopback's.
leaf server "/O=Zabkeeper tests/CN=server" "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nbasicConstraints=CA:FALSE\n"
cat "$W/server.key" "$W/server.crt" > server.pem
openssl pkcs8 -topk8 -in "$W/server.key" -passout pass:$P -v2 aes-256-cbc > server-encrypted.pem
cat "$W/server.crt" >> server-encrypted.pem
openssl ec -in "$W/server.key" > server-sec1.pem 2>/dev/null
cat "$W/server.crt" >> server-sec1.pem
openssl pkcs12 -export -inkey "$W/server.key" -in "$W/server.crt" -certfile ca.pem -name server -passout pass:$P -out server-openssl.p12
openssl pkcs12 -export -legacy -inkey "$W/server.key" -in "$W/server.crt" -name server -passout pass:$P -out server-legacy.p12
keytool -importkeystore -noprompt -srckeystore server-openssl.p12 -srcstorepass $P -destkeystore server-keytool.p12 \
    -deststoretype PKCS12 -deststorepass $P 2>/dev/null
keytool -importkeystore -noprompt -srckeystore server-openssl.p12 -srcstorepass $P -destkeystore server.jks \
    -deststoretype JKS -deststorepass $P 2>/dev/null

# A server's without hosts, known by its common name.
leaf named "/CN=localhost" "basicConstraints=CA:FALSE\n"
cat "$W/named.key" "$W/named.crt" > named.pem
# A server's for another host.
leaf elsewhere "/CN=elsewhere" "subjectAltName=DNS:elsewhere.example\n"
cat "$W/elsewhere.key" "$W/elsewhere.crt" > elsewhere.pem

# A client's: common name, no hosts; with RSA, in the old form too.
openssl genrsa 2048 2>/dev/null | openssl pkcs8 -topk8 -nocrypt -out "$W/client.key"
leaf client "/C=DE/O=Zabkeeper tests/OU=Clients/CN=client one" "basicConstraints=CA:FALSE\n"
cat "$W/client.key" "$W/client.crt" > client.pem
openssl rsa -in "$W/client.key" -traditional > client-pkcs1.pem 2>/dev/null
cat "$W/client.crt" >> client-pkcs1.pem
openssl pkcs12 -export -inkey "$W/client.key" -in "$W/client.crt" -certfile ca.pem -name client -passout pass:$P -out client.p12
keytool -importkeystore -noprompt -srckeystore client.p12 -srcstorepass $P -destkeystore client.jks \
    -deststoretype JKS -deststorepass $P 2>/dev/null

# One of the first version of X.509, which has no extensions: as openssl made them until lately, where none were given.
leaf first "/CN=first" ""
openssl x509 -req -in "$W/first.csr" -CA ca.pem -CAkey "$W/ca.key" -days $DAYS -sha256 -set_serial 5 -out "$W/first.crt" 2>/dev/null
cat "$W/first.key" "$W/first.crt" > first.pem
# One that the owner of that has signed, who is no authority.
ec "$W/made-by-first.key"
openssl req -new -key "$W/made-by-first.key" -subj "/CN=made-by-first" -out "$W/made-by-first.csr"
echo "basicConstraints=CA:FALSE" > "$W/made-by-first.ext"
openssl x509 -req -in "$W/made-by-first.csr" -CA first.pem -CAkey first.pem -days $DAYS -sha256 -set_serial 7 \
    -extfile "$W/made-by-first.ext" -out "$W/made-by-first.crt" 2>/dev/null
cat "$W/made-by-first.key" "$W/made-by-first.crt" > made-by-first.pem
# One whose name has everything that is written in a way of its own.
leaf odd "/C=DE/ST=A,B/L=Köln/street=Weg 1/O= blanks /OU=a\+b=c/OU=x;<y>/DC=example/UID=u/emailAddress=a@b.example/serialNumber=7/CN=#odd \"q\"" \
    "basicConstraints=CA:FALSE\n"
cp "$W/odd.crt" odd.pem
# One with two attributes in a part.
leaf multi "/O=Zabkeeper tests/CN=two+UID=parts" "basicConstraints=CA:FALSE\n" "-multivalue-rdn"
cp "$W/multi.crt" multi.pem

# One that nobody vouches for but itself: as openssl makes it, which says that it is an authority.
ec "$W/alone.key"
openssl req -x509 -new -key "$W/alone.key" -subj "/CN=alone" -days $DAYS -out "$W/alone.crt"
cat "$W/alone.key" "$W/alone.crt" > alone.pem
# The same by keytool, which does not.
keytool -genkeypair -alias own -keyalg EC -groupname secp256r1 -dname "CN=own, O=Zabkeeper tests" -validity $DAYS \
    -ext san=dns:localhost,ip:127.0.0.1 -keystore own.p12 -storetype PKCS12 -storepass $P 2>/dev/null
keytool -exportcert -rfc -alias own -keystore own.p12 -storepass $P 2>/dev/null > "$W/own.crt"

# One that is signed by one of the trust store that is no authority, in both versions.
openssl pkcs12 -in own.p12 -passin pass:$P -nodes -nocerts 2>/dev/null | openssl pkcs8 -topk8 -nocrypt -out "$W/own.key"
for one in made made-first; do
    ec "$W/$one.key"
    openssl req -new -key "$W/$one.key" -subj "/CN=$one" -out "$W/$one.csr"
    [ $one = made ] && echo "basicConstraints=CA:FALSE" > "$W/$one.ext" || : > "$W/$one.ext"
    openssl x509 -req -in "$W/$one.csr" -CA "$W/own.crt" -CAkey "$W/own.key" -days $DAYS -sha256 -set_serial 6 \
        $([ $one = made ] && echo -extfile "$W/$one.ext") -out "$W/$one.crt" 2>/dev/null
    cat "$W/$one.key" "$W/$one.crt" > $one.pem
done

# Whom to trust: the authority, and two that stand for themselves.
cat ca.pem "$W/alone.crt" "$W/own.crt" > trust.pem
for kind in PKCS12:trust.p12 JKS:trust.jks; do
    for one in ca.pem:ca "$W/alone.crt:alone" "$W/own.crt:own"; do
        keytool -importcert -noprompt -alias "${one##*:}" -file "${one%:*}" -keystore "${kind#*:}" \
            -storetype "${kind%:*}" -storepass $P 2>/dev/null
    done
done
openssl pkcs12 -export -nokeys -in trust.pem -passout pass:$P -out trust-openssl.p12

# A client's of somebody else's authority.
ec "$W/stranger.key"
openssl req -x509 -new -key "$W/stranger.key" -subj "/CN=client one" -days $DAYS -out "$W/stranger.crt"
cat "$W/stranger.key" "$W/stranger.crt" > stranger.pem
# One that is signed with SHA-1.
leaf weak "/CN=weak" "basicConstraints=CA:FALSE\n"
openssl x509 -req -in "$W/weak.csr" -CA ca.pem -CAkey "$W/ca.key" -days $DAYS -sha1 -set_serial 4 -out "$W/weak.crt" 2>/dev/null
cat "$W/weak.key" "$W/weak.crt" > weak.pem

# Ones of which the key is not for proving oneself, or is.
for one in encrypts:keyEncipherment signs:digitalSignature; do
    leaf "${one%:*}" "/CN=${one%:*}" "basicConstraints=CA:FALSE\nkeyUsage=critical,${one#*:}\n"
    cat "$W/${one%:*}.key" "$W/${one%:*}.crt" > "${one%:*}.pem"
done
# Ones that an authority between has signed, of which the key may not vouch, or may.
for one in idle:digitalSignature busy:keyCertSign; do
    name=${one%:*}
    leaf "$name" "/CN=$name authority" "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,${one#*:}\n"
    ec "$W/below-$name.key"
    openssl req -new -key "$W/below-$name.key" -subj "/CN=below $name" -out "$W/below-$name.csr"
    echo "basicConstraints=CA:FALSE" > "$W/below-$name.ext"
    openssl x509 -req -in "$W/below-$name.csr" -CA "$W/$name.crt" -CAkey "$W/$name.key" -days $DAYS -sha256 \
        -set_serial 8 -extfile "$W/below-$name.ext" -out "$W/below-$name.crt" 2>/dev/null
    cat "$W/below-$name.key" "$W/below-$name.crt" "$W/$name.crt" > "below-$name.pem"
done
printf '%s\n' $P > password.txt
