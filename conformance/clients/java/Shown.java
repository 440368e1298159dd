import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.stream.Collectors;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.ClientInfo;
import org.apache.zookeeper.data.Stat;

/** Results as text in which nothing is left that differs from run to run. */
class Shown extends Cases {
    static ZooKeeper zk;
    /** The folder of the case. */
    static String base;

    static String results(Object[] result) {
        List<String> texts = new ArrayList<>();
        texts.add(KeeperException.Code.get((Integer) result[0]).toString());
        for (int at = 1; at < result.length; at++) {
            texts.add(shown(result[at]));
        }
        return String.join(" ", texts);
    }

    static String shown(Object what) {
        if (what instanceof byte[]) {
            return "'" + masked(new String((byte[]) what)) + "'";
        } else if (what instanceof String) {
            return masked((String) what);
        } else if (what instanceof Stat) {
            Stat stat = (Stat) what;
            String owner = stat.getEphemeralOwner() == 0 ? "none" : stat.getEphemeralOwner() == zk.getSessionId() ? "mine" : "another";
            return "{version " + stat.getVersion() + "," + stat.getCversion() + "," + stat.getAversion() + " length " + stat.getDataLength() + " children "
                    + stat.getNumChildren() + " owner " + owner + (stat.getMzxid() == stat.getCzxid() ? " new" : " changed")
                    + (stat.getPzxid() == stat.getCzxid() ? "" : " children changed") + (stat.getMtime() < stat.getCtime() ? " backwards" : "") + "}";
        } else if (what instanceof KeeperException) {
            KeeperException error = (KeeperException) what;
            return "!" + error.code() + (error.getPath() == null ? "" : " " + shown(error.getPath()))
                    + (error.getResults() == null ? "" : " " + shown(error.getResults()));
        } else if (what instanceof Throwable) {
            return "!" + what.getClass().getSimpleName();
        } else if (what instanceof ACL) {
            ACL acl = (ACL) what;
            return acl.getPerms() + ":" + acl.getId().getScheme() + ":" + acl.getId().getId();
        } else if (what instanceof ClientInfo) {
            return ((ClientInfo) what).getAuthScheme() + ":" + ((ClientInfo) what).getUser();
        } else if (what instanceof OpResult.CreateResult) {
            OpResult.CreateResult made = (OpResult.CreateResult) what;
            return "created " + shown(made.getPath()) + (made.getStat() == null ? "" : " " + shown(made.getStat()));
        } else if (what instanceof OpResult.ErrorResult) {
            return "error " + ((OpResult.ErrorResult) what).getErr();
        } else if (what instanceof OpResult.SetDataResult) {
            return "set " + shown(((OpResult.SetDataResult) what).getStat());
        } else if (what instanceof OpResult.GetDataResult) {
            return "data " + shown(((OpResult.GetDataResult) what).getData()) + " " + shown(((OpResult.GetDataResult) what).getStat());
        } else if (what instanceof OpResult.GetChildrenResult) {
            return "children " + shown(((OpResult.GetChildrenResult) what).getChildren());
        } else if (what instanceof OpResult) {
            return what.getClass().getSimpleName();
        } else if (what instanceof List) {
            List<String> texts = ((List<?>) what).stream().map(Shown::shown).collect(Collectors.toList());
            if (!texts.isEmpty() && ((List<?>) what).get(0) instanceof String) {
                Collections.sort(texts);
            }
            return texts.toString();
        }
        return String.valueOf(what);
    }

    /** What differs from run to run: the folder, addresses, ids. */
    static String masked(String text) {
        return text.replace(base, "").replaceAll("127\\.0\\.0\\.1:\\d+:\\d+", "HOST:P:P").replaceAll("127\\.0\\.0\\.1[:/]\\d+", "HOST:P")
                .replaceAll("version=[0-9a-f]+", "version=V").replaceAll("0x[0-9a-f]+", "0xN");
    }
}
